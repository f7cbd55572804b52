/** LoHa against LyCORIS: its files (plain and Tucker), the change of every weight, loss and gradients; and our own files through the same reader. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { openSafetensors } from '../../../src/formats/safetensors';
import { bytesSource } from '../../../src/formats/source';
import { GraphBuilder } from '../../../src/graph/builder';
import { differentiate } from '../../../src/graph/differentiate';
import { interpret } from '../../../src/graph/interpret';
import { saveLora } from '../../../src/lora/file';
import { initialFactors } from '../../../src/lora/init';
import type { Factors } from '../../../src/lora/init';
import { loadLora } from '../../../src/lora/load';
import type { LoadedModule } from '../../../src/lora/load';
import { downColumns, selectModules } from '../../../src/lora/modules';
import type { NetworkModule } from '../../../src/lora/modules';
import { reportLora } from '../../../src/lora/report';
import { bakeStrength } from '../../../src/lora/strength';
import { UNET_BLOCKS } from '../../../src/recipe/defaults';
import { relativeError } from '../../gpu/harness';
import { miniModules } from './models';

const fixture = (name: string) => new Uint8Array(readFileSync(`test/fixtures/lora/${name}.safetensors`));
const expected = await openSafetensors(bytesSource(fixture('loha-expected')));

const NAMES: Readonly<Record<string, string>> = {
	'input_blocks.1.1.transformer_blocks.0.attn1.to_q': 'lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q',
	'input_blocks.1.1.proj_in': 'lora_unet_down_blocks_0_attentions_0_proj_in',
	'input_blocks.1.0.in_layers.2': 'lora_unet_down_blocks_0_resnets_0_conv1',
	'input_blocks.4.0.in_layers.2': 'lora_unet_down_blocks_1_resnets_0_conv1'
};

function product(rank: number, { down, up }: Pick<Factors, 'down' | 'up'>): Float64Array {
	const [rows, columns] = [up.length / rank, down.length / rank];
	const out = new Float64Array(rows * columns);
	for (let n = 0; n < rows; n++)
		for (let k = 0; k < columns; k++) for (let r = 0; r < rank; r++) out[n * columns + k]! += up[n * rank + r]! * down[r * columns + k]!;
	return out;
}

/** The change of the weight in the engine's order. */
function delta(m: NetworkModule & Factors): Float64Array {
	const [one, two] = [product(m.rank, m), m.second && product(m.rank, m.second)];
	return one.map((x, i) => (m.alpha / m.rank) * x * (two ? two[i]! : 1));
}

/** LyCORIS' change of this module: `[N, in, ky, kx]` there, `[N, ky, kx, in]` here. */
async function theirs(m: LoadedModule): Promise<Float64Array> {
	const data = await expected.readFloat32(`${NAMES[m.path]}.delta`);
	if (m.kind !== 'conv3') return Float64Array.from(data);
	const K = downColumns(m);
	return Float64Array.from(data, (_, i) => {
		const [n, k] = [Math.floor(i / K), i % K];
		return data[n * K + (k % m.inFeatures) * 9 + Math.floor(k / m.inFeatures)]!;
	});
}

describe('files of LyCORIS', () => {
	it.each([
		['for training', { training: true }, true],
		['as the plain LoRA they equal', {}, false]
	])('%s change every weight as LyCORIS does', async (_, options, loha) => {
		const { modules } = await loadLora(fixture('loha'), miniModules, options);
		expect(modules.map((m) => m.path).sort()).toEqual(Object.keys(NAMES).sort());
		for (const m of modules) {
			expect(m.second !== undefined && m.loha === true).toBe(loha);
			expect(relativeError(delta(m), await theirs(m)), m.path).toBeLessThan(1e-5);
		}
	});

	it('are measured like any LoRA', async () => {
		const report = await reportLora(await openSafetensors(bytesSource(fixture('loha'))));
		let square = 0;
		for (const m of (await loadLora(fixture('loha'), miniModules)).modules) square += delta(m).reduce((sum, x) => sum + x * x, 0);
		expect(report.modules).toBe(4);
		expect(report.norm).toBeCloseTo(Math.sqrt(square), 3);
	});

	it('that lack a factor are refused by name', async () => {
		const { modules } = await loadLora(fixture('loha'), miniModules, { training: true });
		const bytes = await saveLora(modules, { family: 'mini', precision: 'f32', metadata: {} });
		const broken = new TextDecoder('latin1').decode(bytes).replace('attn1_to_q.hada_w2_a', 'attn1_to_q.hada_w9_a');
		await expect(
			loadLora(
				Uint8Array.from(broken, (c) => c.charCodeAt(0)),
				miniModules
			)
		).rejects.toMatchObject({ code: 'lora.incomplete' });
	});
});

describe('training', () => {
	it('gives LyCORIS’ loss and gradients', async () => {
		const { modules } = await loadLora(fixture('loha'), miniModules, { training: true });
		const m = modules.find((module) => module.path.endsWith('attn1.to_q'))!;
		const builder = new GraphBuilder({ storage: 'f32' });
		const [x, target, weight] = [builder.input('x', [1, 5, 1, 64]), builder.input('target', [1, 5, 1, 64]), builder.input('weight', [1])];
		const pair = (name: string) => ({ down: builder.parameter(`${name}.down`, [m.rank, 64]), up: builder.parameter(`${name}.up`, [64, m.rank]) });
		const [one, two] = [pair('one'), pair('two')];
		const y = builder.linear(x, builder.constant('w', [64, 64]), { adapters: [{ ...one, scale: { factor: m.alpha / m.rank }, second: two }] });
		const loss = builder.loss('mse', y, target, weight);
		const { graph, gradients } = differentiate(builder.finish([loss]), { loss, lossScale: { factor: 1 }, wrt: [one.up, one.down, two.up, two.down] });
		const feeds = new Map<string, Float32Array>([
			['x', await expected.readFloat32('x')],
			['target', await expected.readFloat32('target')],
			['w', await expected.readFloat32('weight')],
			['weight', Float32Array.of(1)],
			['one.down', m.down],
			['one.up', m.up],
			['two.down', m.second!.down],
			['two.up', m.second!.up]
		]);
		const all = interpret(graph, feeds);
		expect(all.get(loss)![0]).toBeCloseTo((await expected.readFloat32('loss'))[0]!, 5);
		for (const [value, key] of [
			[one.up, 'hada_w1_a'],
			[one.down, 'hada_w1_b'],
			[two.up, 'hada_w2_a'],
			[two.down, 'hada_w2_b']
		] as const) {
			expect(relativeError(all.get(gradients.get(value)!)!, await expected.readFloat32(`grad.${key}`)), key).toBeLessThan(1e-5);
		}
	});

	it('begins without effect, with LyCORIS’ spread', () => {
		const [module] = selectModules(miniModules, { network: 'loha', rank: 8, alpha: 4, convRank: 4, convAlpha: 2, blocks: UNET_BLOCKS });
		const { down, up, second } = initialFactors(module!, 0, 3);
		const deviation = (data: Float32Array) => Math.sqrt(data.reduce((sum, x) => sum + x * x, 0) / data.length);
		expect(deviation(down)).toBeCloseTo(1, 0);
		expect(deviation(up) * 10).toBeCloseTo(1, 0);
		expect(deviation(second!.down)).toBeCloseTo(1, 0);
		expect(second!.up.every((x) => x === 0)).toBe(true);
		expect(second!.down).not.toEqual(down);
	});
});

describe('own files', () => {
	const settings = { rank: 3, alpha: 1.5, convRank: 2, convAlpha: 2, blocks: ['IN04', 'OUT05'] as const };
	const filled = (network: 'lierla' | 'loha') =>
		selectModules(miniModules, { ...settings, network }).map((m, i) => {
			const { second, ...first } = initialFactors(m, i, 5);
			const up = (data: Float32Array) => data.map((_, k) => Math.sin(k + i) / 8);
			return { ...m, ...first, up: up(first.up), ...(second ? { second: { ...second, up: up(second.up) } } : {}) };
		});

	it('come back as they were', async () => {
		const modules = filled('loha');
		const bytes = await saveLora(modules, { family: 'mini', precision: 'f32', metadata: { ss_network_module: 'lycoris.kohya' } });
		const back = (await loadLora(bytes, miniModules, { training: true })).modules;
		expect(back).toEqual(modules);
		const plain = (await loadLora(bytes, miniModules)).modules;
		plain.forEach((m, i) => expect(relativeError(delta(m), delta(modules[i]!))).toBeLessThan(1e-5));
	});

	it('hold the strength asked for: q times the change, alpha as it was', () => {
		for (const network of ['lierla', 'loha'] as const) {
			const modules = filled(network);
			const strong = bakeStrength(modules, 5);
			strong.forEach((m, i) => {
				expect(m.alpha).toBe(modules[i]!.alpha);
				expect(
					relativeError(
						delta(m),
						delta(modules[i]!).map((x) => x * (network === 'loha' ? 1 : 5))
					)
				).toBeLessThan(1e-5);
			});
		}
	});
});

describe('attention', () => {
	const count = (attention: 'full' | 'cross' | 'self', network: 'lierla' | 'loha' = 'lierla') =>
		selectModules(miniModules, { network, attention, rank: 4, alpha: 4, convRank: 4, convAlpha: 4, blocks: UNET_BLOCKS });

	it('cross and self keep the four projections of attn2 and attn1 alone; loha ignores them', () => {
		// 16 transformers of SD1.5's topology.
		expect(count('cross')).toHaveLength(64);
		expect(count('self')).toHaveLength(64);
		expect(count('cross').every((m) => m.path.includes('.attn2.to_'))).toBe(true);
		expect(count('self').every((m) => m.path.includes('.attn1.to_'))).toBe(true);
		expect(count('cross', 'loha')).toHaveLength(count('full').length);
	});
});
