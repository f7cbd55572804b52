/** What the service can say about files, LoRAs and the GPU is said in Japanese too, under the very codes it uses. */
import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { problemsJa } from '../../../src/app/i18n/ja/problems';

const source = (path: string): Promise<string> => readFile(new URL(`../../../src/${path}`, import.meta.url), 'utf8');
/** The members of the first string union behind `type NAME =` or `code:`. */
const union = (text: string, after: RegExp): string[] => {
	const start = text.search(after);
	const body = text.slice(start, text.indexOf(/\bcode: /.test(text.slice(start, start + 20)) ? ',' : ';', start));
	return [...body.matchAll(/'([\w.-]+)'/g)].map(([, code]) => code ?? '');
};

describe('Japanese', () => {
	it.each([
		['formats/error.ts', /type FormatErrorCode/, 'file.', 30],
		['gpu/gpu.ts', /readonly code: 'unavailable'/, 'gpu.', 5],
		['lora/error.ts', /type LoraErrorCode/, '', 9],
		['storage/errors.ts', /type StorageCode/, '', 5]
	])('covers %s', async (path, after, prefix, least) => {
		const codes = union(await source(path), after).map((code) => prefix + code);
		expect(codes.length).toBeGreaterThanOrEqual(least);
		expect(codes.filter((code) => !(code in problemsJa))).toEqual([]);
	});

	it('covers the host, the runner and the checks', async () => {
		const files = [
			'service/host.ts',
			'service/runs.ts',
			'service/platform.ts',
			'service/inspect.ts',
			'service/client.ts',
			'jobs/check.ts',
			'jobs/sampling.ts',
			'jobs/estimate.ts',
			'jobs/plot.ts',
			'helper/plot.ts',
			'helper/plotFile.ts',
			'training/pass.ts',
			'training/programs.ts',
			'jobs/resume.ts',
			'jobs/queue-sweep.ts',
			'helper/folders.ts',
			'helper/models.ts',
			'helper/pairing.ts',
			'helper/socket.ts',
			'service/extras.ts',
			'service/source.ts',
			'service/link.ts',
			'service/packing.ts',
			'service/request-schema.ts',
			'service/run-house.ts',
			'service/run-log.ts',
			'service/session.ts',
			'service/socket-client.ts',
			'app/helper/jobs.ts',
			'app/helper/connection.svelte.ts',
			'app/queue/models.ts',
			'app/queue/queue.svelte.ts'
		];
		// The field that a file stands in looks like a code.
		const texts = (await Promise.all(files.map(source))).join('\n').replace(/fileSize\([^)]*\)/g, '');
		const codes = [
			...texts.matchAll(
				/'((?:plot|resume|snapshot|queue|pair|model|gpu|run|sample|lora|trainer|protocol|training|shelf|helper|pairing|wire|request)\.[a-zA-Z]+)'/g
			)
		].map(([, code]) => code ?? '');
		expect(codes.length).toBeGreaterThan(20);
		expect([...new Set(codes)].filter((code) => !(code in problemsJa))).toEqual([]);
	});
});
