/** Merging by SVD against an independent SVD in float64, on random and on trained LoRAs; the other methods, comparison, and everything a file can have wrong. */
import { readFileSync } from 'node:fs';
import { Matrix, SingularValueDecomposition } from 'ml-matrix';
import { describe, expect, test } from 'vitest';
import { bytesSource } from '../../../src/formats/source';
import { LoraError } from '../../../src/lora/error';
import { MergeSession } from '../../../src/lora/merge';
import { openMergeFile, type MergeFile } from '../../../src/lora/merge-files';
import type { MergedModule } from '../../../src/lora/merge-types';
import { writeMerge } from '../../../src/lora/merge-write';
import { parseMergeParts, type Dimension, type MergeSettings } from '../../../src/recipe/merge';
import { changeOf, exactSum, minus, norm, openModules, openTensors, randoms, tensorsOf, type TestModule } from './merge-harness';

const settings = (parts: string, dimension: Dimension, more: Partial<MergeSettings> = {}): MergeSettings => ({
	name: 'merged',
	method: 'svd',
	dimension,
	convDimension: null,
	precision: 'f32',
	parts: parseMergeParts(parts),
	...more
});
const fixed = (rank: number): Dimension => ({ kind: 'fixed', rank });

/** σ by the other library, and the error of the best approximation of this rank. */
function optimum(sum: Float64Array, rows: number, rank: number): { sigma: number[]; error: number } {
	const columns = sum.length / rows;
	const matrix = Matrix.from1DArray(rows, columns, Array.from(sum));
	const sigma = new SingularValueDecomposition(matrix, { autoTranspose: true, computeLeftSingularVectors: false, computeRightSingularVectors: false }).diagonal;
	return { sigma, error: Math.sqrt(sigma.slice(rank).reduce((all, s) => all + s * s, 0)) };
}

function expectOptimal(module: MergedModule, sum: Float64Array): void {
	const { error } = optimum(sum, module.rows, module.rank);
	const found = norm(minus(sum, changeOf(module)));
	expect(found).toBeLessThanOrEqual(error + 1e-4 * norm(sum));
	expect(found).toBeGreaterThanOrEqual(error * (1 - 1e-6) - 1e-9);
}

const Q = 'lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k';
const CONV = 'lora_unet_up_blocks_1_resnets_0_conv1';
const linear = (rank: number, alpha: number | undefined = rank): TestModule => ({
	name: Q,
	rows: 40,
	inputs: [64],
	rank,
	...(alpha === undefined ? {} : { alpha })
});
const conv = (rank: number): TestModule => ({ name: CONV, rows: 24, inputs: [8, 3, 3], rank, alpha: 2 });

async function refused(work: () => Promise<unknown>): Promise<LoraError> {
	const error = await work().then(
		() => undefined,
		(reason: unknown) => reason
	);
	expect(error).toBeInstanceOf(LoraError);
	return error as LoraError;
}

describe('merging by SVD', () => {
	test('is optimal for random LoRAs of mixed ranks, signs and kinds', async () => {
		const files = [await openModules('a', [linear(4, 8), conv(3)]), await openModules('b', [linear(7)]), await openModules('c', [linear(2, 1), conv(5)])];
		for (const [parts, ratios] of [
			['a:0.6,b:0.6,c:0.6', [0.6, 0.6, 0.6]],
			['a:1,b:-0.7,c:2.5', [1, -0.7, 2.5]]
		] as const) {
			for (const rank of [1, 4, 8, 13]) {
				const { modules } = await new MergeSession(files).merge(settings(parts, fixed(rank)));
				expect(modules).toHaveLength(2);
				for (const module of modules) {
					const name = module.kernel.length > 0 ? CONV : Q;
					const sum = await exactSum(files, () => name.replace('lora_unet_', ''), ratios);
					expectOptimal(module, sum);
					expect(module.alpha).toBe(module.rank);
				}
			}
		}
	});

	test('keeps what remains of LoRAs that nearly cancel each other', async () => {
		const down = randoms(4 * 64);
		const up = randoms(40 * 4);
		const nudge = (data: Float32Array): Float32Array => data.map((x, i) => x + 1e-3 * Math.sin(i));
		const files = [await openModules('a', [{ ...linear(4), down, up }]), await openModules('b', [{ ...linear(4), down: nudge(down), up: nudge(up) }])];
		const { modules } = await new MergeSession(files).merge(settings('a:1,b:-1', fixed(3)));
		const [module] = modules;
		if (!module) throw new Error('nothing merged');
		expectOptimal(module, await exactSum(files, () => Q.replace('lora_unet_', ''), [1, -1]));
	});

	test('is optimal for trained LoRAs, and reports what every dimension keeps', async () => {
		const folder = new URL('../../fixtures/mini/reference/', import.meta.url);
		const names = ['addift-adamw', 'difference-lion', 'addift-conv'];
		const files = await Promise.all(names.map((name) => openMergeFile(name, bytesSource(readFileSync(new URL(`${name}.safetensors`, folder))))));
		const session = new MergeSession(files);
		const { modules, report } = await session.merge(settings('a:0.6,b:-0.5,c:0.6', fixed(4)));
		let [whole, kept] = [0, 0];
		for (const [i, module] of modules.entries()) {
			const raw = files.flatMap((file) => file.raw.modules).filter(({ name }) => name === kohyaStem(module));
			expect(raw.length).toBeGreaterThan(0);
			if (i % 11 !== 0) continue;
			expectOptimal(module, await exactSum(files, () => raw[0]?.name, [0.6, -0.5, 0.6]));
		}
		for (const block of report.blocks) {
			whole += block.norm ** 2;
			kept += block.norm ** 2 * (block.energy[3] ?? 1);
		}
		expect(Math.sqrt(whole)).toBeCloseTo(report.norm, 6);
		expect(kept / whole).toBeCloseTo(report.kept ?? 0, 6);
		expect(report.energy[3]).toBeCloseTo(report.kept ?? 0, 6);
	});

	test('a session answers another ratio as a new one does', async () => {
		const files = [await openModules('a', [linear(4)]), await openModules('b', [linear(7)])];
		const session = new MergeSession(files);
		await session.merge(settings('a:1,b:1', fixed(4)));
		const again = await session.merge(settings('a:0.2,b:-3', { kind: 'energy', keep: 0.9 }));
		const fresh = await new MergeSession(files).merge(settings('a:0.2,b:-3', { kind: 'energy', keep: 0.9 }));
		expect(again.modules).toEqual(fresh.modules);
	});

	test('dimensions: auto is the largest part, energy the smallest that keeps enough, none above what there is', async () => {
		const files = [await openModules('a', [linear(4), conv(2)]), await openModules('b', [linear(7)])];
		const session = new MergeSession(files);
		const rankOf = async (dimension: Dimension, more: Partial<MergeSettings> = {}): Promise<number[]> =>
			(await session.merge(settings('a:1,b:1', dimension, more))).modules.map(({ rank }) => rank);
		expect(await rankOf({ kind: 'auto' })).toEqual([7, 2]);
		expect(await rankOf(fixed(500))).toEqual([11, 2]);
		expect(await rankOf(fixed(3), { convDimension: fixed(1) })).toEqual([3, 1]);
		const sum = await exactSum(files, () => Q.replace('lora_unet_', ''), [1, 1]);
		const { sigma } = optimum(sum, 40, 0);
		const total = sigma.reduce((all, s) => all + s * s, 0);
		const [rank = 0] = await rankOf({ kind: 'energy', keep: 0.8 });
		const share = (r: number): number => sigma.slice(0, r).reduce((all, s) => all + s * s, 0) / total;
		expect(share(rank)).toBeGreaterThanOrEqual(0.8);
		expect(share(rank - 1)).toBeLessThan(0.8);
		const { warnings } = await session.merge(settings('a:1,b:1', fixed(500)));
		expect(warnings.map(({ code }) => code)).toEqual(['merge.dimensionAboveRank']);
	});

	test('block weights multiply the ratio, BASE is the text encoder, and what has weight 0 is left out and said', async () => {
		const te: TestModule = { name: 'lora_te_text_model_encoder_layers_0_mlp_fc1', rows: 12, inputs: [10], rank: 2, alpha: 2 };
		const files = [await openModules('a', [linear(4), conv(2), te])];
		const { modules, warnings } = await new MergeSession(files).merge({
			...settings('a:0.5', fixed(8)),
			parts: [{ name: 'a', ratio: 0.5, blocks: { BASE: -2, IN04: 3 } }]
		});
		expect(modules.map(({ block }) => block).sort()).toEqual(['BASE', 'IN04']);
		const scales = { BASE: -1, IN04: 1.5 };
		for (const module of modules) {
			const stem = module.part === 'te' ? 'te_text_model_encoder_layers_0_mlp_fc1' : Q.replace('lora_unet_', '');
			const sum = await exactSum(files, () => stem, [scales[module.block as 'BASE' | 'IN04']]);
			expect(norm(minus(sum, changeOf(module)))).toBeLessThan(1e-5 * norm(sum));
		}
		expect(warnings.map(({ code }) => code)).toEqual(['merge.dimensionAboveRank', 'merge.leftOut']);
	});
});

const kohyaStem = (module: MergedModule): string => {
	const place = /^(input|output)_blocks_(\d+)_(\d)_(.*)$/.exec(module.name);
	const resnet: Record<string, string> = { in_layers_2: 'conv1', out_layers_3: 'conv2', emb_layers_1: 'time_emb_proj', skip_connection: 'conv_shortcut' };
	if (!place)
		return module.name
			.replace(/^middle_block_(\d)_/, (_, i: string) => `mid_block_${['resnets_0', 'attentions_0', 'resnets_1'][Number(i)] ?? ''}_`)
			.replace(/(in_layers_2|out_layers_3|emb_layers_1)$/, (rest) => resnet[rest] ?? rest);
	const [, side, number, layer, rest = ''] = place;
	const at = side === 'input' ? Number(number) - 1 : Number(number);
	const block = `${side === 'input' ? 'down' : 'up'}_blocks_${Math.floor(at / 3)}`;
	if (rest === 'op') return `${block}_downsamplers_0_conv`;
	if (rest === 'conv') return `${block}_upsamplers_0_conv`;
	return `${block}_${layer === '0' ? 'resnets' : 'attentions'}_${at % 3}_${resnet[rest] ?? rest}`;
};

describe('other methods', () => {
	test('concatenation is exact in any order, and ranks add up', async () => {
		const files = [await openModules('a', [linear(4, 1)]), await openModules('b', [linear(7, 14)])];
		const { modules, report } = await new MergeSession(files).merge(settings('a:0.3,b:-2', fixed(1), { method: 'concat' }));
		const sum = await exactSum(files, () => Q.replace('lora_unet_', ''), [0.3, -2]);
		expect(modules[0]?.rank).toBe(11);
		if (modules[0]) expect(norm(minus(sum, changeOf(modules[0])))).toBeLessThan(1e-6 * norm(sum));
		expect(report.norm).toBeCloseTo(norm(sum), 4);
	});

	test('an average of one LoRA is that LoRA times its ratio; of a LoRA and itself, their sum; of different ranks, refused', async () => {
		const a = await openModules('a', [linear(4, 2)]);
		for (const [parts, files, factor] of [
			['a:-0.7', [a], -0.7],
			['a:0.5,b:0.25', [a, a], 0.75],
			['a:0.5,b:-0.25', [a, a], 0.25]
		] as const) {
			const { modules } = await new MergeSession(files).merge(settings(parts, fixed(1), { method: 'average' }));
			const sum = await exactSum([a], () => Q.replace('lora_unet_', ''), [factor]);
			if (modules[0]) expect(norm(minus(sum, changeOf(modules[0])))).toBeLessThan(1e-5 * norm(sum));
		}
		const session = new MergeSession([a, await openModules('b', [linear(3)])]);
		expect((await refused(() => session.merge(settings('a:1,b:1', fixed(1), { method: 'average' })))).code).toBe('merge.ranks');
	});
});

describe('names', () => {
	test('diffusers and checkpoint names of one module meet; the result has the names of its family', async () => {
		const sdxl = (name: string): TestModule => ({ name, rows: 20, inputs: [2048], rank: 2, alpha: 2 });
		const ours = await openModules('ldm', [sdxl('lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k')]);
		const theirs = await openModules('diffusers', [sdxl('lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k')]);
		const peft = await openTensors(
			'peft',
			tensorsOf([sdxl('x')]).flatMap((tensor) =>
				tensor.name.endsWith('alpha')
					? []
					: [
							{
								...tensor,
								name: tensor.name
									.replace('x.lora_down', 'unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.lora_A')
									.replace('x.lora_up', 'unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.lora_B')
							}
						]
			)
		);
		expect(peft.warnings.map(({ code }) => code)).toEqual(['lora.missingAlpha']);
		const files = [ours, theirs, peft];
		const made = settings('a:1,b:1,c:1', fixed(3), { precision: 'bf16' });
		const { modules, family } = await new MergeSession(files).merge(made);
		expect(modules).toHaveLength(1);
		const file = await openMergeFile('result', bytesSource(await writeMerge(modules, family, made, files, new Date(0))));
		expect([...file.raw.file.tensors.keys()].sort()[0]).toBe('lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.alpha');
		expect(file.raw.file.tensors.get('lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.lora_up.weight')?.dtype).toBe('BF16');
		expect(file.metadata).toMatchObject({ ss_network_dim: '3', ss_network_alpha: '3', ss_base_model_version: 'sdxl_base_v1-0' });
		expect(JSON.parse(file.metadata['ut_parents'] ?? '')).toMatchObject([{ name: 'a', ratio: 1 }, { name: 'b' }, { name: 'c' }]);
		const { similarity } = await new MergeSession([file, file]).compare();
		expect(similarity[0]?.[1]).toBeCloseTo(1, 9);
	});
});

describe('comparison', () => {
	test('norms and inner products are those of the full matrices', async () => {
		const files = [await openModules('a', [linear(4, 8), conv(2)]), await openModules('b', [linear(7), conv(3)])];
		const { products, files: reports, advice } = await new MergeSession(files).compare();
		const sums = await Promise.all(
			[0, 1].map((i) => Promise.all([Q, CONV].map((name) => exactSum([files[i] as MergeFile], () => name.replace('lora_unet_', ''), [1]))))
		);
		const inner = (i: number, j: number): number =>
			(sums[i] ?? []).reduce((all, matrix, m) => all + matrix.reduce((sum, x, k) => sum + x * (sums[j]?.[m]?.[k] ?? 0), 0), 0);
		for (const i of [0, 1]) for (const j of [0, 1]) expect(products[i]?.[j]).toBeCloseTo(inner(i, j), 4);
		expect(reports[0]?.norm).toBeCloseTo(Math.sqrt(inner(0, 0)), 5);
		expect(reports[0]?.blocks.map(({ block }) => block)).toEqual(['IN04', 'OUT03']);
		const { sigma } = optimum(sums[0]?.[0] ?? new Float64Array(0), 40, 0);
		reports[0]?.blocks[0]?.spectrum.forEach((s, k) => expect(s).toBeCloseTo(sigma[k] ?? NaN, 5));
		expect(advice.each).toBeGreaterThanOrEqual(0.5);
	});
});

describe('bad input', () => {
	test('numbers that are not finite are refused by name', async () => {
		const file = await openModules('broken', [{ ...linear(2), up: randoms(80).fill(NaN, 7, 8) }]);
		const error = await refused(() => new MergeSession([file]).merge(settings('a:1', fixed(1))));
		expect(error.code).toBe('lora.notFinite');
		expect(error.message).toContain('broken');
	});

	test('files of different architectures, or widths, are refused before anything is computed', async () => {
		const sd15 = await openModules('one', [{ ...linear(2), inputs: [768] }]);
		const sdxl = await openModules('two', [{ ...linear(2), inputs: [2048] }]);
		expect((await refused(() => Promise.resolve().then(() => new MergeSession([sd15, sdxl])))).code).toBe('merge.architectures');
		const other = await openModules('three', [{ ...linear(2), rows: 80, inputs: [768] }]);
		const error = await refused(() => Promise.resolve().then(() => new MergeSession([sd15, other])));
		expect([error.code, error.message.includes('three')]).toEqual(['merge.shapes', true]);
		expect((await refused(() => openModules('flux', [{ ...linear(2), inputs: [1024] }]))).code).toBe('merge.architectures');
	});

	test('one factor under two names is an error, tensors of unknown names are reported, an empty module is refused', async () => {
		const tensors = tensorsOf([linear(2)]);
		const again = tensors.map((tensor) => ({ ...tensor, name: tensor.name.replace('lora_unet_down_blocks_1_attentions_0', 'lora_unet_input_blocks_4_1') }));
		expect((await refused(() => openTensors('twice', [...tensors, ...again]))).code).toBe('lora.duplicate');
		const extra = await openTensors('extra', [...tensors, { name: 'emb_params', dtype: 'F32', shape: [1], data: Float32Array.of(1) }]);
		expect(extra.warnings.map(({ code }) => code)).toEqual(['lora.unknownTensors']);
		expect((await refused(() => openModules('empty', [linear(0, 1)]))).code).toBe('lora.shape');
	});

	test('nothing left, nothing given, and halves that would overflow', async () => {
		const file = await openModules('a', [linear(2)]);
		expect((await refused(() => new MergeSession([file]).merge(settings('a:0', fixed(1))))).code).toBe('merge.nothing');
		expect((await refused(() => Promise.resolve().then(() => new MergeSession([])))).code).toBe('merge.noFiles');
		const zero = await openModules('zero', [{ ...linear(2), up: new Float32Array(80) }]);
		expect((await refused(() => new MergeSession([zero]).merge(settings('a:1', fixed(1))))).code).toBe('merge.nothing');
		const huge = settings('a:90', fixed(1), { precision: 'f16' });
		const { modules, family } = await new MergeSession([await openModules('big', [{ ...linear(1), up: new Float32Array(40).fill(1e5) }])]).merge(huge);
		expect((await refused(() => writeMerge(modules, family, huge, [], new Date()))).code).toBe('merge.overflow');
	});
});
