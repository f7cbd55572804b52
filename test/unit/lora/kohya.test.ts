/** The same numbers as kohya's own scripts (tools/lora-reference/kohya.py): merge by SVD with its clamp and block weights, and resize by every rule. */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { openSafetensors, type SafetensorsFile } from '../../../src/formats/safetensors';
import { bytesSource } from '../../../src/formats/source';
import { MergeSession } from '../../../src/lora/merge';
import { openMergeFile, type MergeFile } from '../../../src/lora/merge-files';
import { clampPair } from '../../../src/lora/merge-solve';
import type { MergedModule } from '../../../src/lora/merge-types';
import { fileName } from '../../../src/lora/names';
import { resizeLora } from '../../../src/lora/resize';
import { BLOCK_IDS } from '../../../src/recipe/recipe';
import type { MergeSettings } from '../../../src/recipe/merge';
import type { ResizeSettings } from '../../../src/recipe/resize';
import { change, changeOf, minus, norm, openTensors } from './merge-harness';

let fixture: SafetensorsFile;
let files: MergeFile[];

interface Theirs {
	down: Float32Array;
	up: Float32Array;
	rank: number;
	alpha: number;
}

async function theirs(set: string, name: string): Promise<Theirs> {
	const read = (tensor: string): Promise<Float32Array> => fixture.readFloat32(`${set}/${name}.${tensor}`);
	const alpha = (await read('alpha'))[0] ?? NaN;
	const rank = fixture.tensors.get(`${set}/${name}.lora_down.weight`)?.shape[0] ?? 0;
	return { down: await read('lora_down.weight'), up: await read('lora_up.weight'), rank, alpha };
}

beforeAll(async () => {
	fixture = await openSafetensors(bytesSource(readFileSync(new URL('../../fixtures/lora/kohya.safetensors', import.meta.url))));
	const open = async (set: string): Promise<MergeFile> => {
		const names = [...fixture.tensors.keys()].filter((name) => name.startsWith(`${set}/`));
		const tensors = await Promise.all(
			names.map(async (name) => ({
				name: name.slice(set.length + 1),
				dtype: 'F32' as const,
				shape: fixture.tensors.get(name)?.shape ?? [],
				data: await fixture.readFloat32(name)
			}))
		);
		return openTensors(set, tensors);
	};
	files = [await open('a'), await open('b')];
});

const weights = (key: string): Partial<Record<(typeof BLOCK_IDS)[number], number>> => {
	const numbers = JSON.parse(fixture.metadata[key] ?? '') as number[];
	return Object.fromEntries(BLOCK_IDS.map((id, i) => [id, numbers[i] ?? 0]));
};

async function merged(blocks: boolean): Promise<readonly MergedModule[]> {
	const settings: MergeSettings = {
		name: 'x',
		method: 'svd',
		dimension: { kind: 'fixed', rank: 3 },
		convDimension: { kind: 'fixed', rank: 2 },
		precision: 'f32',
		parts: [
			{ name: 'a', ratio: 0.7, blocks: blocks ? weights('blocks_a') : null },
			{ name: 'b', ratio: -0.4, blocks: blocks ? weights('blocks_b') : null }
		]
	};
	return (await new MergeSession(files).merge(settings)).modules;
}

describe('svd_merge_lora', () => {
	test.each([
		['merge', false],
		['merge-blocks', true]
	] as const)('%s', async (set, blocks) => {
		const modules = await merged(blocks);
		const stored = new Set([...fixture.tensors.keys()].filter((name) => name.startsWith(`${set}/`)).map((name) => name.slice(set.length + 1).split('.')[0]));
		expect(new Set(modules.map(({ name, part, family = 'mini' as const }: MergedModule & { family?: 'mini' }) => fileName(name, part, family)))).toEqual(
			stored
		);
		for (const module of modules) {
			const other = await theirs(set, fileName(module.name, module.part, 'mini'));
			// A text encoder of rank 2 has no third direction: kohya stores one of size 0.
			expect(module.rank).toBe(module.part === 'te' ? 2 : other.rank);
			const expected = changeOf(other);
			expect(norm(minus(expected, changeOf(module)))).toBeLessThan(2e-5 * norm(expected));
			if (module.part === 'unet') expect(module.alpha).toBe(other.alpha);
		}
	});

	test('the clamp, once singular vectors have the same signs', async () => {
		for (const module of await merged(false)) {
			if (module.part === 'te') continue;
			const name = fileName(module.name, module.part, 'mini');
			const clamped = await theirs('merge-clamped', name);
			const { rank, columns, rows } = module;
			const [down, up] = [module.down.slice(), module.up.slice()];
			for (let r = 0; r < rank; r++) {
				let dot = 0;
				for (let k = 0; k < columns; k++) dot += (down[r * columns + k] ?? 0) * (clamped.down[r * columns + k] ?? 0);
				if (dot > 0) continue;
				for (let k = 0; k < columns; k++) down[r * columns + k] = -(down[r * columns + k] ?? 0);
				for (let i = 0; i < rows; i++) up[i * rank + r] = -(up[i * rank + r] ?? 0);
			}
			const ours = clampPair({ down, up });
			for (const side of ['down', 'up'] as const) {
				const difference = Math.max(...ours[side].map((x, i) => Math.abs(x - (clamped[side][i] ?? 0))));
				expect(difference).toBeLessThan(1e-4 * Math.max(...clamped[side].map(Math.abs)));
			}
		}
	});
});

describe('resize_lora', () => {
	const cases: [string, ResizeSettings['dynamic']][] = [
		['resize-fixed', null],
		['resize-sv_ratio', { method: 'ratio', value: 6 }],
		['resize-sv_fro', { method: 'frobenius', value: 0.97 }],
		['resize-sv_cumulative', { method: 'cumulative', value: 0.8 }]
	];
	test.each(cases)('%s', async (set, dynamic) => {
		const [, b] = files;
		if (!b) throw new Error('no file');
		const { bytes } = await resizeLora(b, { rank: 4, convRank: 3, dynamic }, 'f32');
		const result = await openMergeFile('resized', bytesSource(bytes));
		const ranks = new Set<number>();
		for (const m of result.raw.modules) {
			const [down, up] = [await result.raw.file.readFloat32(m.down), await result.raw.file.readFloat32(m.up)];
			const other = await theirs(set, m.down.replace('.lora_down.weight', ''));
			const te = m.part === 'te';
			if (!te) expect([m.rank, m.alpha]).toEqual([other.rank, expect.closeTo(other.alpha, 5)]);
			const expected = changeOf(other);
			expect(norm(minus(expected, change(up, down, m.rank, m.alpha / m.rank)))).toBeLessThan(2e-5 * norm(expected));
			ranks.add(m.rank);
		}
		expect(result.metadata['ss_training_comment']).toMatch(dynamic ? /^Dynamic resize with sv_/ : /^dimension is resized from 9 to 4 \(conv: 3\); /);
		if (set === 'resize-sv_ratio') expect(ranks.size).toBeGreaterThan(1);
	});
});
