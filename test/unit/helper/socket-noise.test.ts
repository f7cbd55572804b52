/** More attacks on the helper's socket while a run goes on: texts that would be paths, broken messages, requests of every wrong shape. */
import { readdir } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { defaultRecipe } from '../../../src/recipe/defaults';
import type { Request } from '../../../src/service/protocol';
import { besiege, client, folder, frame, inside, MEGABYTE, trainer, work } from '../../support/attack';

besiege();

/** Every text of every request, in turn, is a way out of a folder. */
describe('no text is a path', () => {
	const TRICKS = [
		'../../../../etc/passwd',
		'..\\..\\windows\\win.ini',
		'/etc/passwd',
		'C:\\secret',
		'file:///etc/passwd',
		'a\0b',
		'%2e%2e%2f',
		'.',
		'..',
		'~',
		'\u202e',
		'x'.repeat(5000)
	];
	const file = new ArrayBuffer(8);
	const requests: Request[] = [
		{ type: 'openModel', source: { kind: 'bundled', id: 'mini', url: 'x' }, run: 'x' },
		{ type: 'openModel', source: { kind: 'named', id: 'x' } },
		{ type: 'openModel', source: { kind: 'file', name: 'x', blob: new Blob(['x']) } },
		{ type: 'closeModel', modelId: 'x' },
		{ type: 'train', run: 'x', request: { modelId: 'x', recipe: defaultRecipe('mini') }, keep: { job: 'x', resume: true } },
		{ type: 'stop', run: 'x', save: true },
		{ type: 'snapshot', run: 'x' },
		{ type: 'cancel', run: 'x' },
		{ type: 'follow', run: 'x', after: -1 },
		{ type: 'fetchResult', run: 'x' },
		{ type: 'forgetRun', run: 'x' },
		{ type: 'fetchLora', id: 'x' },
		{ type: 'takeSnapshot', job: 'x' },
		{ type: 'giveSnapshot', job: 'x', snapshot: { state: file, copier: null } },
		{ type: 'dropSnapshot', job: 'x' },
		{ type: 'unpair', id: 'x' },
		{ type: 'inspect', name: 'x', blob: new Blob(['x']) }
	];
	const IDS = new Set(['run', 'id', 'modelId', 'job']);

	/** Copies of a request with the trick in one text after the other; `id`: whether it is one that names something. */
	function tricked(value: unknown, trick: string, key = ''): { value: unknown; id: boolean }[] {
		if (typeof value === 'string') return key === 'type' || key === 'kind' ? [] : [{ value: trick, id: IDS.has(key) }];
		if (typeof value !== 'object' || value === null || value instanceof Blob || value instanceof ArrayBuffer || key === 'recipe') return [];
		return Object.entries(value).flatMap(([name, item]) => tricked(item, trick, name).map((found) => ({ ...found, value: { ...value, [name]: found.value } })));
	}

	it.each(requests.map((request) => [request.type, request] as const))('of %s', async (_, request) => {
		trainer.answer = () => null;
		const cases = TRICKS.flatMap((trick) => tricked(request, trick));
		expect(cases.length).toBeGreaterThanOrEqual(TRICKS.length);
		const from = trainer.asked.length;
		const outcomes = await Promise.all(
			cases.map(({ value }) =>
				client.request(value as Request).then(
					() => 'done',
					(error: unknown) => (error as { problem: { code: string } }).problem.code
				)
			)
		);
		for (const [i, { id }] of cases.entries()) if (id) expect(outcomes[i]).toBe('request.invalid');
		// What reached the trainer carries the trick only where it is a label or the address it replaces by its own.
		for (const asked of trainer.asked.slice(from)) if (asked.type === 'openModel' && asked.source.kind === 'bundled') expect(asked.source.url).toBe('');
		trainer.answer = undefined;
		const names = await readdir(folder, { recursive: true });
		expect(names.filter((name) => !/^runs([\\/][0-9a-f]{32}\.(json(\.part)?|events))?$/.test(name))).toEqual([]);
	});
});

describe('noise', () => {
	/** Small, fixed, and the same in every run of the test. */
	function random(seed: number): () => number {
		let state = seed;
		return () => {
			state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
			return state / 2 ** 32;
		};
	}

	it('2,000 broken messages harm nothing', async () => {
		const next = random(7);
		const whole = frame({ type: 'request', id: 1, request: { type: 'closeModel', modelId: 'x' } });
		const memory = process.memoryUsage().heapUsed;
		let connection = await inside();
		let connections = 1;
		for (let i = 0; i < 2000; i++) {
			if (connection.socket.readyState !== WebSocket.OPEN) {
				connection = await inside();
				connections++;
			}
			const kind = next();
			const bytes = whole.slice(0, kind < 0.3 ? Math.floor(next() * whole.length) : whole.length);
			for (let n = 0; n < 1 + next() * 8; n++) bytes[Math.floor(next() * bytes.length)] = Math.floor(next() * 256);
			connection.socket.send(kind < 0.05 ? 'text' : bytes);
			if (i % 20 === 0) {
				work(1);
				await new Promise((later) => setTimeout(later, 2));
			}
		}
		connection.socket.terminate();
		expect(connections).toBeGreaterThan(20);
		expect(process.memoryUsage().heapUsed - memory).toBeLessThan(64 * MEGABYTE);
	});

	it('requests of every wrong shape are refused one by one', async () => {
		const next = random(11);
		const pieces = [null, 0, -1, 1e308, NaN, '', 'x', true, [], {}, new Uint8Array(3), new ArrayBuffer(2), new Blob(['x']), { type: 'train' }, [[[]]]];
		const pick = <T>(from: readonly T[]): T => from[Math.floor(next() * from.length)] as T;
		const types = ['train', 'plot', 'merge', 'sample', 'follow', 'openModel', 'giveSnapshot', 'findRate', 'compareLoras', 'inspect', 'unknown', '__proto__'];
		const members = ['run', 'request', 'source', 'modelId', 'job', 'snapshot', 'keep', 'after', 'files', 'name', 'blob', 'pass', 'constructor'];
		const from = trainer.asked.length;
		const codes = new Set<string>();
		for (let i = 0; i < 400; i++) {
			const request = { type: pick(types), ...Object.fromEntries(Array.from({ length: 3 }, () => [pick(members), pick(pieces)])) };
			await client.request(request as unknown as Request).catch((error: unknown) => codes.add((error as { problem: { code: string } }).problem.code));
		}
		expect(codes).toContain('request.invalid');
		// By chance a few are what they should be: a text and a Blob to inspect, no files to compare.
		expect(trainer.asked.slice(from).filter(({ type }) => type !== 'inspect' && type !== 'compareLoras')).toEqual([]);
		expect([...codes].filter((code) => !['request.invalid', 'run.unknown', 'test.odd'].includes(code))).toEqual([]);
	});
});
