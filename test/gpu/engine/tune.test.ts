/** Tiles by measurement: what is measured is used where it applies, kept, and brought back only for the same key. */
import { expect, test } from 'vitest';
import { targetOf } from '../../../src/kernels/lower';
import { chooseTile, LANES_TILES, FAT_TILES, STAGED_TILES, tilesFor, type Problem } from '../../../src/kernels/tiles';
import { measureTuning, rememberedTuning, rememberTuning, tuningKey, type TuningCache } from '../../../src/kernels/tune';
import { tunedTile, useTuning, type TunedClass, type Tuning } from '../../../src/kernels/tune-table';
import { openTestGpu } from '../harness';

const problem = (m: number, n: number, k: number, form = 'rows nk'): Problem => ({ m, n, k, halves: true, form });
const [slow, quick] = [STAGED_TILES[0], STAGED_TILES[1]].map((tile) => tile?.name ?? '');

function table(...classes: readonly Partial<TunedClass>[]): Tuning {
	const usual: TunedClass = { form: 'rows nk', m: 1024, n: 1024, k: 1024, best: { tile: quick ?? '', tflops: 2 }, heuristic: { tile: slow ?? '', tflops: 1 } };
	return { key: 'k', seconds: 1, classes: classes.map((given) => ({ ...usual, ...given })) };
}

test('a product takes the tile of the nearest measured one of its form', () => {
	const tuning = table({}, { m: 16, best: { tile: slow ?? '', tflops: 5 } });
	expect(tunedTile(tuning, problem(2048, 1024, 1024), STAGED_TILES)?.name).toBe(quick);
	expect(tunedTile(tuning, problem(8, 1024, 1024), STAGED_TILES)?.name).toBe(slow);
	expect(tunedTile(tuning, problem(1024, 1024, 1024, 'cols kn'), STAGED_TILES)).toBeUndefined();
	expect(tunedTile(tuning, problem(1 << 20, 1 << 16, 1024), STAGED_TILES)).toBeUndefined();
	expect(tunedTile(tuning, problem(1024, 1024, 1024), STAGED_TILES.slice(3))).toBeUndefined();
	expect(tunedTile(table({ best: { tile: quick ?? '', tflops: 1.01 } }), problem(1024, 1024, 1024), STAGED_TILES)).toBeUndefined();
	expect(tunedTile(undefined, problem(1, 1, 1), STAGED_TILES)).toBeUndefined();
});

test('measuring on this adapter, keeping it, and taking it up again', async () => {
	const gpu = await openTestGpu({ software: true });
	const key = tuningKey(gpu, 'f16', 'test');
	expect(key).not.toBe(tuningKey(gpu, 'f16', 'another driver'));
	const seen: number[] = [];
	const tuning = await measureTuning(gpu, key, { budgetMs: 60_000, storage: 'f16', onProgress: (done) => seen.push(done) < 3 });
	// Stopped before the third class.
	expect(tuning.classes).toHaveLength(2);
	const names = [...LANES_TILES, ...FAT_TILES].map(({ name }) => name);
	for (const { best, heuristic } of tuning.classes) {
		expect(names).toContain(best.tile);
		expect(best.tflops).toBeGreaterThanOrEqual(heuristic.tflops);
	}
	const kept = new Map<string, string>();
	const cache: TuningCache = {
		read: (name) => Promise.resolve(kept.get(name)),
		write: (name, text) => Promise.resolve(void kept.set(name, text))
	};
	await rememberTuning(cache, tuning);
	expect(await rememberedTuning(cache, key)).toEqual(tuning);
	expect(await rememberedTuning(cache, 'other')).toBeUndefined();
	kept.set(key, '{"half');
	expect(await rememberedTuning(cache, key)).toBeUndefined();

	const { form, m, n, k } = tuning.classes[0] ?? { form: '', m: 0, n: 0, k: 0 };
	const target = targetOf(gpu);
	const other = tilesFor(problem(m, n, k, form), target).find((tile) => tile !== chooseTile(problem(m, n, k, form), target));
	if (!other) return;
	useTuning(gpu.device, table({ form, m, n, k, best: { tile: other.name, tflops: 3 } }));
	expect(chooseTile(problem(m, n, k, form), targetOf(gpu))).toBe(other);
	useTuning(gpu.device, undefined);
	expect(chooseTile(problem(m, n, k, form), targetOf(gpu))).not.toBe(other);
});
