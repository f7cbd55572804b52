/** The inputs of every mode: what is missing or does not fit is named, and what fits is encoded once, in its role, with its text and mask. */
import { mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ModelConfig } from '../../../src/diffusion/config';
import { SD15_UNET } from '../../../src/diffusion/config';
import { encodePng } from '../../../src/formats/png';
import type { Picture } from '../../../src/formats/png';
import { InputError } from '../../../src/helper/inputError';
import { readFolder } from '../../../src/helper/recipeInputs';
import type { Conditioner } from '../../../src/jobs/conditioner';
import type { Problem } from '../../../src/jobs/events';
import { checkInputs, encodeInputs, trainingSizes } from '../../../src/jobs/inputs';
import type { RunInput } from '../../../src/jobs/inputs';
import { defaultRecipe } from '../../../src/recipe/defaults';
import type { Mode, Recipe } from '../../../src/recipe/recipe';

const config: ModelConfig = {
	family: 'mini',
	title: '',
	prediction: 'epsilon',
	resolution: 128,
	unet: { ...SD15_UNET, modelChannels: 64, contextDim: 4 },
	vae: { prefix: '', channels: 64, channelMult: [1, 1, 1, 1], resBlocks: 2, latentChannels: 4, groups: 32, scale: 0.18215 },
	text: []
};

/** Plain, of one shade; the left half may be transparent. */
function plain(shade: number, width = 128, height = 128, glass = false): Picture {
	const data = new Uint8ClampedArray(4 * width * height).fill(shade);
	for (let i = 3; i < data.length; i += 4) data[i] = glass && ((i - 3) / 4) % width < width / 2 ? 0 : 255;
	return { width, height, data };
}

/** Latents that say which shade they come from; contexts that say which text. */
function listening(): { conditioner: Conditioner; asked: string[]; pictures: number[] } {
	const asked: string[] = [];
	const pictures: number[] = [];
	const unused = () => Promise.reject(new Error('not needed'));
	const conditioner: Conditioner = {
		encodeText: (prompts) =>
			Promise.resolve(prompts.map((prompt) => ({ context: Float32Array.of(asked.push(prompt)), pooled: Float32Array.of(7, prompt.length) }))),
		encodePicture: ({ data, width, height }) => {
			expect(data.every((value, i) => i % 4 !== 3 || value === 255)).toBe(true);
			pictures.push(data[0] ?? 0);
			return Promise.resolve(new Float32Array((4 * width * height) / 64).fill(data[0] ?? 0));
		},
		encodePrompts: unused,
		decode: unused,
		close: () => Promise.resolve()
	};
	return { conditioner, asked, pictures };
}

function recipe(mode: Mode, change: (made: Recipe) => void = () => undefined): Recipe {
	const made: Recipe = { ...defaultRecipe('mini'), mode };
	change(made);
	return made;
}
const codes = (input: RunInput): string[] => checkInputs(input, config).map(({ code, where }) => `${code} ${where}`);
const encode = async (input: RunInput) => {
	const heard = listening();
	return { ...heard, inputs: await encodeInputs(input, config, heard.conditioner, () => undefined) };
};

describe('what a mode needs', () => {
	it.each([
		['difference', ['input.missing images.original', 'input.missing images.target']],
		['addift', ['input.missing images.original', 'input.missing images.target']],
		['multiAddift', ['dataset.empty dataset.folder']],
		['lora', ['dataset.empty dataset.folder']],
		['leco', []]
	] as const)('%s', (mode, expected) => {
		expect(codes({ recipe: recipe(mode) })).toEqual(expected);
	});

	it('names files, masks, folders and blocks that do not fit', () => {
		const pair = { original: plain(10), target: plain(20) };
		expect(codes({ recipe: recipe('addift'), ...pair })).toEqual([]);
		expect(codes({ recipe: recipe('addift'), ...pair, mask: plain(255, 64, 128) })).toEqual(['mask.size mask']);
		expect(codes({ recipe: recipe('addift'), ...pair, mask: plain(0) })).toEqual(['mask.black mask']);
		const fromFile = recipe('difference', (r) => {
			r.copier = { use: 'file', file: { name: 'c' }, only: false };
			r.resumeFrom = { name: 'l' };
		});
		expect(codes({ recipe: fromFile, ...pair })).toEqual(['input.missing copier.file', 'input.missing resumeFrom']);
		expect(codes({ recipe: fromFile, ...pair, copier: new ArrayBuffer(8), start: new ArrayBuffer(8) })).toEqual([]);
		const pictures = [{ name: 'a.png', picture: plain(1) }];
		expect(codes({ recipe: recipe('multiAddift'), pictures })).toEqual(['dataset.noPairs dataset.suffix']);
		expect(codes({ recipe: recipe('lora', (r) => (r.dataset.minSide = 40)), pictures })).toEqual(['dataset.multiple dataset.bucketStep']);
		const small = [{ name: 'a.png', picture: plain(1, 64, 64) }];
		expect(codes({ recipe: recipe('lora', (r) => (r.dataset.upscale = false)), pictures: small })).toEqual(['dataset.tooSmall dataset.upscale']);
	});

	it('allows transparent parts where they are left out of the loss', () => {
		const glass = { original: plain(10, 128, 128, true), target: plain(20) };
		expect(codes({ recipe: recipe('addift'), ...glass })).toEqual(['pair.alpha images.original']);
		expect(codes({ recipe: recipe('addift', (r) => (r.masking.alpha = true)), ...glass })).toEqual([]);
	});
});

describe('encoding', () => {
	it('a pair: prompts in their roles, swapped pictures, masks', async () => {
		const made = recipe('addift', (r) => {
			r.swap = true;
			r.prompts = { original: 'from', target: 'to' };
			r.masking = { alpha: true, difference: false, renormalise: true };
		});
		const { inputs, asked } = await encode({ recipe: made, original: plain(10, 128, 128, true), target: plain(20) });
		if (inputs.kind !== 'pairs') throw new Error(inputs.kind);
		const [bucket] = inputs.buckets;
		const [only] = bucket?.pairs ?? [];
		expect([bucket?.height, bucket?.width, only?.original[0], only?.target[0]]).toEqual([16, 16, 20, 10]);
		expect([...(only?.mask ?? [])].slice(0, 16)).toEqual([...new Array<number>(8).fill(0), ...new Array<number>(8).fill(2)]);
		expect(asked).toEqual(['from', 'to']);
		expect(inputs.conditioning.target.context[0]).toBe(2);
	});

	it('tells SDXL the sizes in pixels, with the pooled vector of each text', async () => {
		const sdxl: ModelConfig = { ...config, unet: { ...config.unet, vectorDim: 2 + 6 * 256 } };
		const made = recipe('difference', (r) => (r.prompts = { original: 'a', target: 'longer' }));
		const inputs = await encodeInputs(
			{ recipe: made, original: plain(1, 192, 128), target: plain(2, 192, 128) },
			sdxl,
			listening().conditioner,
			() => undefined
		);
		if (inputs.kind !== 'pairs') throw new Error(inputs.kind);
		const vectors = [inputs.conditioning.original, inputs.conditioning.target].map(({ vector }) => vector ?? new Float32Array());
		expect(vectors.map((vector) => [vector.length, vector[0], vector[1]])).toEqual([
			[1538, 7, 1],
			[1538, 7, 6]
		]);
		// The first frequency is 1, so the first numbers of the six sinusoids are the cosines of height, width, 0, 0, height, width.
		const firsts = [0, 1, 2, 3, 4, 5].map((n) => vectors[0]?.[2 + 256 * n] ?? NaN);
		[128, 192, 0, 0, 128, 192].forEach((size, n) => expect(firsts[n]).toBeCloseTo(Math.cos(size), 5));

		const tiny = { ...made, sizes: 'latents' as const };
		const told = await encodeInputs({ recipe: tiny, original: plain(1, 192, 128), target: plain(2, 192, 128) }, sdxl, listening().conditioner, () => undefined);
		if (told.kind !== 'pairs') throw new Error(told.kind);
		[16, 24, 0, 0, 16, 24].forEach((size, n) => expect(told.conditioning.target.vector?.[2 + 256 * n]).toBeCloseTo(Math.cos(size), 5));

		const folder = recipe('lora', (r) => {
			r.dataset.minSide = 64;
			r.resolution = { width: 128, height: 128 };
			r.dataset.bucketStep = 0;
		});
		const crops = await encodeInputs(
			{ recipe: folder, pictures: [{ name: 'x.png', picture: plain(3, 512, 256) }] },
			sdxl,
			listening().conditioner,
			() => undefined
		);
		if (crops.kind !== 'pictures') throw new Error(crops.kind);
		const vector = crops.buckets[0]?.pictures[0]?.conditioning.vector ?? new Float32Array();
		// 512 × 256 becomes 256 × 128, of which the middle is taken.
		[256, 512, 0, 64, 128, 128].forEach((size, n) => expect(vector[2 + 256 * n]).toBeCloseTo(Math.cos(size), 5));
	});

	it('a folder: captions once each, sizes as announced, mirror images', async () => {
		const made = recipe('lora', (r) => Object.assign(r.dataset, { trigger: 'mika', mirror: true }));
		const pictures = [
			{ name: 'a.png', picture: plain(1), text: 'smile' },
			{ name: 'b.png', picture: plain(2), text: 'smile' },
			{ name: 'c.png', picture: plain(3) }
		];
		const input = { recipe: made, pictures };
		const { inputs, asked, pictures: seen } = await encode(input);
		if (inputs.kind !== 'pictures') throw new Error(inputs.kind);
		expect(asked).toEqual(['mika, smile', 'mika']);
		expect(seen).toEqual([1, 1, 2, 2, 3, 3]);
		expect(inputs.buckets.map(({ height, width }) => ({ height: 8 * height, width: 8 * width }))).toEqual(trainingSizes(input).map((size) => ({ ...size })));
		expect(inputs.buckets[0]?.pictures[0]?.conditioning).toEqual(inputs.buckets[0]?.pictures[3]?.conditioning);
	});

	it('pairs of a folder: their own captions unless the recipe has prompts', async () => {
		const pictures = [
			{ name: 'a.png', picture: plain(1), text: 'closed' },
			{ name: 'a_t.png', picture: plain(2), text: 'open' },
			{ name: 'b.png', picture: plain(3), text: 'still' },
			{ name: 'b_t.png', picture: plain(4) }
		];
		const own = await encode({ recipe: recipe('multiAddift'), pictures });
		expect(own.asked).toEqual(['', 'closed', 'open', 'still']);
		expect(own.pictures).toEqual([1, 2, 3, 4]);
		const prompted = await encode({ recipe: recipe('multiAddift', (r) => (r.prompts = { original: 'x', target: 'y' })), pictures });
		expect(prompted.asked).toEqual(['x', 'y']);
	});

	it('words: an empty target is the neutral prompt', async () => {
		const made = recipe('leco', (r) => (r.leco = { original: 'blue hair', target: '', neutral: 'hair' }));
		const { inputs, asked } = await encode({ recipe: made });
		expect(inputs).toMatchObject({ kind: 'words', height: made.resolution.height / 8, width: made.resolution.width / 8 });
		expect(asked).toEqual(['blue hair', 'hair']);
	});
});

describe('a folder on disk', () => {
	let folder: string;
	beforeAll(async () => {
		folder = await mkdtemp(join(tmpdir(), 'utsushi-folder-'));
		await mkdir(join(folder, 'sub'));
		const png = encodePng(plain(7, 64, 64));
		for (const name of ['b.png', 'sub/a.png', '.hidden.png']) await writeFile(join(folder, name), png);
		await writeFile(join(folder, 'b.caption'), 'second choice');
		await writeFile(join(folder, 'b.txt'), '\uFEFFfirst choice');
		await writeFile(join(folder, 'photo.jpg'), 'x');
		await writeFile(join(folder, 'notes.md'), 'x');
	});
	afterAll(() => rm(folder, { recursive: true, force: true }));

	it('is read with its captions; what cannot be read is named', async () => {
		const warnings: Problem[] = [];
		const pictures = await readFolder(folder, warnings);
		expect(pictures.map(({ name, text }) => [name, text])).toEqual([
			['b.png', 'first choice'],
			['sub/a.png', undefined]
		]);
		expect(warnings.map(({ code, values }) => [code, values['name']])).toEqual([['dataset.notPng', 'photo.jpg']]);
		await expect(readFolder(join(folder, 'nowhere'), [])).rejects.toThrow(InputError);
		await writeFile(join(folder, 'sub', 'broken.png'), 'no picture');
		const broken = await readFolder(folder, []).catch((error: unknown) => error);
		expect(broken instanceof InputError && broken.problems.map(({ message }) => message.startsWith('sub/broken.png'))).toEqual([true]);
	});
});
