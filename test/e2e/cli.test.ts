/** The command line on the built program: a run from recipe to picture, and stopping it with Ctrl-C. */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodePng } from '../../src/formats/png';
import { readPngText } from '../../src/formats/png-text';
import { run, start } from '../support/cli';

let folder: string;
beforeAll(async () => {
	folder = await mkdtemp(join(tmpdir(), 'utsushi-cli-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A few steps of both passes, so small that a software GPU does them in seconds. */
const pass = { rank: 4, alpha: 4, batch: 1, iterations: 3 };
const recipe = {
	version: 1,
	nmae: 'a typo',
	name: 'mouth',
	model: { name: 'mini', family: 'mini', bundled: 'mini' },
	images: { original: { name: 'closed', bundled: 'front/closed.png' }, target: { name: 'a', bundled: 'front/a.png' } },
	passes: { copier: pass, difference: { ...pass, alpha: 8, iterations: 4 } },
	saving: { everySteps: 2, keepCopier: true },
	preview: { seeds: [5], strengths: [0, 1], steps: 2, every: 3 },
	probe: { every: 0 }
};

/** Dawn itself writes this to stderr on some adapters. */
const withoutDawn = (text: string): string => text.replace(/^Warning: maxDynamic\w+ artificially reduced.*\n/gm, '');

interface Line {
	type: string;
	seq?: number;
	file?: string;
	role?: string;
	state?: string;
	outcome?: string;
	step?: number;
	steps?: number;
	loss?: number;
	problem?: { code: string; level: string };
}
const lines = (text: string): Line[] =>
	text
		.split('\n')
		.filter(Boolean)
		.map((line) => JSON.parse(line) as Line);

async function writeRecipe(name: string, content: unknown): Promise<string> {
	const path = join(folder, `${name}.json`);
	await writeFile(path, JSON.stringify(content));
	return path;
}

describe('a run', () => {
	let events: Line[];
	const out = (): string => join(folder, 'out');

	test('trains both passes and tells every step as a JSON line', async () => {
		const { code, out: text, err } = await run(['train', await writeRecipe('recipe', recipe), '--out', out(), '--json']);
		expect(withoutDawn(err)).toBe('');
		expect(code).toBe(0);
		events = lines(text);
		expect(events[0]).toMatchObject({ type: 'problem', problem: { level: 'warning', code: 'recipe.unknownField' } });
		expect(events[1]).toMatchObject({ type: 'warning', problem: { level: 'warning', code: 'recipe.alphaAboveRank' } });
		expect(events.slice(1).map(({ seq }) => seq)).toEqual(events.slice(1).map((_, i) => i));
		const states = events.filter(({ type }) => type === 'state').map(({ state }) => state);
		for (const state of ['preparing', 'encoding', 'compiling', 'training', 'saving', 'sampling', 'done']) expect(states).toContain(state);
		expect(events.filter(({ type }) => type === 'progress').map(({ step, steps }) => `${step}/${steps}`)).toEqual([
			'1/3',
			'2/3',
			'3/3',
			'1/4',
			'2/4',
			'3/4',
			'4/4'
		]);
		for (const event of events) if (event.type === 'progress') expect(event.loss).toBeGreaterThan(0);
		expect(events.at(-1)).toMatchObject({ type: 'ended', outcome: 'done' });
	});

	test('writes every file that it names', async () => {
		const files = events.filter(({ type }) => type === 'file');
		expect(files.map(({ role, file }) => [role, file])).toEqual([
			['copier', 'mouth_copy.safetensors'],
			['intermediate', 'mouth_2steps.safetensors'],
			['result', 'mouth.safetensors']
		]);
		const named = events.flatMap(({ file }) => (file === undefined ? [] : [file]));
		expect((await readdir(out())).sort()).toEqual([...named].sort());
		expect(events.filter(({ type }) => type === 'stripCell').length).toBe(2);
		// One without the network, to compare with, and one on the way.
		expect(events.filter(({ type }) => type === 'preview').length).toBe(2);
		const cell = events.find(({ type }) => type === 'stripCell')?.file ?? '';
		expect(decodePng(new Uint8Array(await readFile(join(out(), cell))))).toMatchObject({ width: 128, height: 128 });
	});

	test('the file is what was asked for', async () => {
		const { code, out: text } = await run(['inspect', join(out(), 'mouth.safetensors'), '--json']);
		expect(code).toBe(0);
		const report = JSON.parse(text) as { lora: Record<string, unknown>; metadata: Record<string, string> };
		expect(report).toMatchObject({ kind: 'lora', family: 'mini', problems: [], lora: { modules: 192, ranks: { '4': 192 }, alphas: { '8': 192 } } });
		expect(report.metadata['ss_output_name']).toBe('mouth');
		expect(report.metadata['ss_network_dim']).toBe('4');
		expect(JSON.parse(report.metadata['utsushi.recipe'] ?? '')).toMatchObject({ name: 'mouth', passes: { difference: { alpha: 8 } } });
		expect((await run(['inspect', join(out(), 'mouth.safetensors')])).out).toMatch(/LoRA, mini model[^]*192 modules/);
	});

	test('the file draws, the same every time, and does something', async () => {
		const draw = async (name: string, ...more: string[]): Promise<Uint8Array> => {
			const file = join(folder, `${name}.png`);
			const { code, err } = await run(['sample', '--prompt', '1girl, blue hair', '--steps', '2', '--cfg', '1', '--seed', '5', '--out', file, ...more]);
			expect(code, err).toBe(0);
			return new Uint8Array(await readFile(file));
		};
		const lora = `${join(out(), 'mouth_copy.safetensors')}:2`;
		const plain = await draw('plain');
		const first = await draw('first', '--lora', lora);
		const second = await draw('second', '--lora', lora);
		expect(decodePng(first).data).toEqual(decodePng(second).data);
		expect(decodePng(first).data).not.toEqual(decodePng(plain).data);
		const text = readPngText(plain).get('parameters') ?? '';
		expect(text).toContain('1girl, blue hair');
		expect(text).toContain('Steps: 2, Sampler: DDIM, CFG scale: 1, Seed: 5, Size: 128x128');
	});

	test('a second run overwrites nothing', async () => {
		const before = await readFile(join(out(), 'mouth.safetensors'));
		const tiny = {
			...recipe,
			passes: { copier: { ...pass, iterations: 1 }, difference: { ...pass, iterations: 1 } },
			saving: {},
			preview: { ...recipe.preview, strengths: [1], every: 0, steps: 1 }
		};
		const { code, err } = await run(['train', await writeRecipe('tiny', tiny), '--out', out()]);
		expect(code, err).toBe(0);
		expect(err).toContain('Wrote mouth-2.safetensors');
		expect(err).toMatch(/Pass 2 \(difference\): step 1\/1 · loss/);
		expect(await readFile(join(out(), 'mouth.safetensors'))).toEqual(before);
	});
});

describe('Ctrl-C', () => {
	test('stops and saves what was learned', async () => {
		const long = { ...recipe, name: 'long', passes: { copier: { ...pass, iterations: 1 }, difference: { ...pass, iterations: 5000 } }, saving: {} };
		const out = join(folder, 'stopped');
		const running = start(['train', await writeRecipe('long', long), '--out', out, '--json']);
		await running.line(/"type":"progress","pass":"difference"/);
		running.child.kill('SIGINT');
		const { code, out: text } = await running.ended;
		expect(code).toBe(0);
		const events = lines(text);
		expect(events.at(-1)).toMatchObject({ type: 'ended', outcome: 'stopped' });
		const saved = events.find(({ type, role }) => type === 'file' && role === 'result');
		expect(saved?.file).toMatch(/^long_\d+steps\.safetensors$/);
		expect(await readdir(out)).toContain(saved?.file);
		expect((await run(['inspect', join(out, saved?.file ?? '')])).code).toBe(0);
	});
});

describe('the rest', () => {
	test('help and version', async () => {
		const help = await run(['--help']);
		expect(help).toMatchObject({ code: 0, err: '' });
		for (const name of ['serve', 'train', 'sample', 'inspect', 'bench']) expect(help.out).toContain(`utsushi ${name}`);
		expect((await run(['--version'])).out).toMatch(/^\d+\.\d+\.\d+\n$/);
	});

	test('a results folder that cannot be made', async () => {
		await mkdir(join(folder, 'taken'), { recursive: true });
		await writeFile(join(folder, 'taken', 'file'), '');
		const { code, err } = await run(['train', await writeRecipe('r', recipe), '--out', join(folder, 'taken', 'file', 'x')]);
		expect(code).toBe(1);
		expect(err).toContain('could not be kept');
	});
});
