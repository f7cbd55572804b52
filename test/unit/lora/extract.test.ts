/** The randomised extraction against the best possible one, where singular values fall off slowly. */
import { Matrix, SingularValueDecomposition } from 'ml-matrix';
import { describe, expect, test } from 'vitest';
import { openSafetensors } from '../../../src/formats/safetensors';
import { writeSafetensors } from '../../../src/formats/safetensors-writer';
import { bytesSource } from '../../../src/formats/source';
import { extractLora } from '../../../src/lora/extract';
import { openMergeFile } from '../../../src/lora/merge-files';
import { change, minus, norm, randoms } from './merge-harness';

describe('extraction', () => {
	test.each([1, 6, 20])('to rank %i is within a thousandth of the optimum', async (rank) => {
		const [rows, columns, full] = [60, 80, 60];
		const up = randoms(rows * full).map((x, i) => x * 0.9 ** (i % full));
		const delta = Float32Array.from(change(up, randoms(full * columns), full, 1));
		const name = 'model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight';
		const before = randoms(rows * columns);
		const open = (data: Float32Array): ReturnType<typeof openSafetensors> =>
			openSafetensors(bytesSource(writeSafetensors([{ name, dtype: 'F32', shape: [rows, columns], data }])));
		const tuned = before.map((x, i) => x + (delta[i] ?? 0));
		const settings = { name: 'x', rank, convRank: 0, precision: 'f32', family: 'sd15', tuned: 'tuned', base: 'base' } as const;
		const { bytes, report } = await extractLora(await open(tuned), await open(before), settings);
		const { raw } = await openMergeFile('x', bytesSource(bytes));
		const [module] = raw.modules;
		if (!module) throw new Error('nothing extracted');
		expect([module.rank, module.alpha]).toEqual([rank, rank]);
		const found = change(await raw.file.readFloat32(module.up), await raw.file.readFloat32(module.down), rank, 1);
		const wanted = Float64Array.from(delta);
		const sigma = new SingularValueDecomposition(Matrix.from1DArray(rows, columns, Array.from(wanted)), { autoTranspose: true }).diagonal;
		const energy = (values: readonly number[]): number => values.reduce((sum, s) => sum + s * s, 0);
		expect(norm(minus(wanted, found))).toBeLessThan(Math.sqrt(energy(sigma.slice(rank))) * 1.001);
		expect(report.kept).toBeCloseTo(energy(sigma.slice(0, rank)) / energy(sigma), 3);
	});
});
