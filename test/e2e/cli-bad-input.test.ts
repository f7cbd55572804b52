/** Everything that can be wrong with what is given to the command line: the right message, the right exit code, and nothing started. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { encodePng } from '../../src/formats/png';
import { writeSafetensors } from '../../src/formats/safetensors-writer';
import { ROOT, run } from '../support/cli';
import { crc32, withChunk } from '../support/png';

let folder: string;
let model: Uint8Array;
beforeAll(async () => {
	folder = await mkdtemp(join(tmpdir(), 'utsushi-bad-'));
	model = new Uint8Array(await readFile(join(ROOT, 'public/models/mini.safetensors')));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const save = async (name: string, bytes: Uint8Array | string): Promise<string> => {
	await writeFile(join(folder, name), bytes);
	return name;
};
const plain = (width: number, height: number, shade = 200, alpha = 255): Uint8Array => {
	const data = new Uint8ClampedArray(4 * width * height).fill(shade);
	for (let i = 3; i < data.length; i += 4) data[i] = alpha;
	return encodePng({ width, height, data });
};

/** Header values of a safetensors file changed in place. */
function redeclared(change: (header: Record<string, { shape: number[]; dtype: string }>) => void): Uint8Array {
	const view = new DataView(model.buffer, model.byteOffset);
	const length = Number(view.getBigUint64(0, true));
	const header = JSON.parse(new TextDecoder().decode(model.subarray(8, 8 + length))) as Record<string, { shape: number[]; dtype: string }>;
	change(header);
	const text = new TextEncoder().encode(JSON.stringify(header));
	const out = new Uint8Array(8 + text.length + model.length - 8 - length);
	new DataView(out.buffer).setBigUint64(0, BigInt(text.length), true);
	out.set(text, 8);
	out.set(model.subarray(8 + length), 8 + text.length);
	return out;
}

interface Given {
	model?: string;
	original?: string;
	target?: string;
	passes?: unknown;
}
async function train({ model: path, original, target, passes }: Given, env: Record<string, string> = {}) {
	const image = (name: string, given: string | undefined) => (given === undefined ? { name, bundled: `front/${name}.png` } : { name, path: given });
	const recipe = {
		version: 1,
		model: path === undefined ? { name: 'mini', family: 'mini', bundled: 'mini' } : { name: 'm', family: 'mini', path },
		images: { original: image('closed', original), target: image('a', target) },
		...(passes === undefined ? {} : { passes })
	};
	await writeFile(join(folder, 'recipe.json'), JSON.stringify(recipe));
	const ended = await run(['train', join(folder, 'recipe.json'), '--out', join(folder, 'out'), '--json'], env);
	const problems = ended.out
		.split('\n')
		.filter(Boolean)
		.map((line) => JSON.parse(line) as { type: string; problem?: { code: string; where: string; message: string } });
	return { ...ended, problems };
}

/** Refused as bad input, by this problem, without one step or file. */
async function refuses(given: Given, code: string, where: string, says: RegExp): Promise<void> {
	const { code: exit, problems, err } = await train(given);
	expect(problems.map(({ type }) => type)).toEqual(problems.map(() => 'problem'));
	const found = problems.find(({ problem }) => problem?.code === code && problem.where === where)?.problem;
	expect(found, JSON.stringify(problems)).toBeDefined();
	expect(found?.message).toMatch(says);
	expect(exit).toBe(2);
	expect(err).toBe('');
	expect(await readdir(join(folder, 'out')).catch(() => [])).toEqual([]);
}

describe('pictures', () => {
	test('of different sizes', async () => {
		await refuses({ target: await save('wide.png', plain(192, 128)) }, 'pair.sizes', 'images.target', /128 × 128.*192 × 128/);
	});
	test('not multiples of what the model needs', async () => {
		const odd = await save('odd.png', plain(100, 100));
		await refuses({ original: odd, target: odd }, 'pair.multiple', 'images.original', /100 × 100.*multiples of 64.*128 × 128/);
	});
	test('animated', async () => {
		const frames = withChunk(plain(128, 128), 'acTL', new Uint8Array(8));
		await refuses({ target: await save('animated.png', frames) }, 'file.animated', 'images.target', /animated.*still/s);
	});
	test('transparent', async () => {
		await refuses({ target: await save('glass.png', plain(128, 128, 90, 128)) }, 'pair.alpha', 'images.target', /transparent.*background/);
	});
	test('of zero bytes', async () => {
		await refuses({ original: await save('empty.png', '') }, 'file.empty', 'images.original', /empty/);
	});
	test('of 12,000 × 12,000 pixels', async () => {
		const png = plain(8, 8);
		const view = new DataView(png.buffer, png.byteOffset);
		view.setUint32(16, 12_000);
		view.setUint32(20, 12_000);
		view.setUint32(29, crc32(png.subarray(12, 29)));
		await refuses({ original: await save('huge.png', png) }, 'file.too-large', 'images.original', /12000 × 12000.*smaller/);
	});
});

describe('the model', () => {
	test('truncated', async () => {
		await refuses(
			{ model: await save('short.safetensors', model.subarray(0, 20_000_000)) },
			'file.truncated',
			'short.safetensors',
			/20000000 bytes.*Download/s
		);
	});
	test('mis-declared', async () => {
		const bytes = redeclared((header) => {
			const entry = header['model.diffusion_model.input_blocks.0.0.weight'];
			if (entry) entry.shape = [65, 4, 3, 3];
		});
		await refuses({ model: await save('wrong.safetensors', bytes) }, 'file.shape', 'wrong.safetensors', /65, 4, 3, 3/);
	});
	test('pickled', async () => {
		const bytes = new Uint8Array([0x50, 0x4b, 3, 4, 20, 0, 0, 0, 8, 8, 0, 0, 0, 0, 0, 0]);
		await refuses({ model: await save('old.ckpt', bytes) }, 'file.pickle', 'old.ckpt', /pickle.*safetensors/s);
	});
	test('not there', async () => {
		await refuses({ model: 'nowhere.safetensors' }, 'path.missing', 'model', /nowhere\.safetensors/);
	});
	test('a LoRA in its place', async () => {
		const lora = await readFile(join(ROOT, 'test/fixtures/mini/reference/difference-adamw.safetensors'));
		await refuses({ model: await save('lora.safetensors', lora) }, 'file.is-lora', 'lora.safetensors', /LoRA, not a checkpoint/);
	});
});

describe('the recipe', () => {
	test('rank 0', () => refuses({ passes: { copier: { rank: 0 } } }, 'recipe.tooSmall', 'passes.copier.rank', /0/));
	test('learning rate "abc"', () => refuses({ passes: { difference: { learningRate: 'abc' } } }, 'recipe.notNumber', 'passes.difference.learningRate', /abc/));
});

describe('sample', () => {
	const sample = (...more: string[]) => run(['sample', '--steps', '1', '--cfg', '1', '--out', join(folder, 'never.png'), ...more]);

	test('a LoRA for another architecture', async () => {
		const [down, up] = [new Float32Array(4 * 320), new Float32Array(320 * 4)];
		const name = 'lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q';
		const cross = 'lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k';
		const bytes = writeSafetensors(
			[
				{ name: `${name}.lora_down.weight`, dtype: 'F32', shape: [4, 320], data: down },
				{ name: `${name}.lora_up.weight`, dtype: 'F32', shape: [320, 4], data: up },
				{ name: `${cross}.lora_down.weight`, dtype: 'F32', shape: [4, 768], data: new Float32Array(4 * 768) },
				{ name: `${cross}.lora_up.weight`, dtype: 'F32', shape: [320, 4], data: up }
			],
			{}
		);
		const { code, err } = await sample('--lora', join(folder, await save('sd15.safetensors', bytes)));
		expect(err).toMatch(/made for Stable Diffusion 1\.5/);
		expect(code).toBe(2);
	});
	test('a size the model cannot draw', async () => {
		const { code, err } = await sample('--size', '136x128');
		expect(err).toMatch(/136 × 128.*multiples of 64/);
		expect(code).toBe(2);
	});
	test('a LoRA that is not there', async () => {
		const { code, err } = await sample('--lora', join(folder, 'gone.safetensors'));
		expect(err).toContain('gone.safetensors');
		expect(code).toBe(2);
	});
});

describe('the machine and the words', () => {
	test('no GPU at all', async () => {
		const { code, problems } = await train({}, { VK_ICD_FILENAMES: join(folder, 'none.json'), VK_DRIVER_FILES: join(folder, 'none.json') });
		expect(problems).toMatchObject([{ problem: { code: 'gpu.unavailable' } }]);
		expect(problems[0]?.problem?.message).toMatch(/driver/);
		expect(code).toBe(1);
	});
	test.each([
		[['paint'], /no command/],
		[['train', 'x.json'], /--out/],
		[['sample', '--out', 'x.png', '--size', '12000x12000'], /4096/],
		[['inspect', 'nowhere.safetensors'], /nowhere\.safetensors/],
		[['inspect', 'package.json'], /not a safetensors file/]
	])('%j', async (words, says) => {
		const { code, out, err } = await run(words);
		expect(err).toMatch(says);
		expect(out).toBe('');
		expect(code).toBe(2);
	});
	test('a port that is taken', async () => {
		const { createServer } = await import('node:http');
		const server = createServer();
		const port = await new Promise<number>((listening) =>
			server.listen(0, '127.0.0.1', () => {
				const address = server.address();
				listening(typeof address === 'object' && address ? address.port : 0);
			})
		);
		const { code, err } = await run(['serve', '--port', String(port)]);
		server.close();
		expect(err).toContain(`Port ${port} is already in use`);
		expect(code).toBe(2);
	});
});
