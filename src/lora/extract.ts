/**
 * A LoRA out of two checkpoints: the best approximation of given rank to what fine-tuning changed, tensor by tensor, without a full SVD.
 *
 * Rules
 * - Randomised range finder with power iterations: Y = (ΔW·ΔWᵀ)²·ΔW·Ω with rank + 8 random directions, orthonormal Q from Y, then the exact decomposition of QᵀΔW.
 *   Where differences fall off slowly, each power iteration squares the gap between what is kept and what is not.
 * - Targets: every Linear and 1×1 convolution inside of UNet transformers, with a conv rank the residual blocks too; text encoders' attention and MLP when any of their weights
 *   differs by more than 0.01 (kohya's rule). Alpha = rank, kohya's names.
 * Source: Halko, Martinsson & Tropp 2011, algorithms 4.4 and 5.1; the reference on extraction.
 */
import type { SafetensorsFile } from '../formats/safetensors';
import type { MergePrecision } from '../recipe/merge';
import type { ModelFamily } from '../recipe/recipe';
import { modulePlaces } from './checkpoint-modules';
import type { Place } from './checkpoint-modules';
import { LoraError } from './error';
import { blockOfName } from './keys';
import { combine, gram, symmetricEigen, transposed } from './linear';
import type { Stack } from './merge-files';
import { approximate, prepareStack, spectrumOf } from './merge-solve';
import { Tally } from './merge-tally';
import type { MergedModule, MergeReport } from './merge-types';
import { mergedTensors, mergeMetadata, writeHashed } from './merge-write';
import { UniformStream } from './random';

export interface ExtractSettings {
	name: string;
	rank: number;
	/** 0: no convolutions. */
	convRank: number;
	precision: MergePrecision;
	family: ModelFamily;
	/** For the metadata. */
	tuned: string;
	base: string;
}

const OVERSAMPLING = 8;
const POWERS = 2;
const TEXT_ENCODER_THRESHOLD = 0.01;

const isTransformer = (name: string): boolean => name.includes('_transformer_blocks_') || /_proj_(in|out)$/.test(name);
const isResidual = (name: string): boolean => /_(in_layers_2|out_layers_3|emb_layers_1|skip_connection|op|conv)$/.test(name);

function selected(name: string, { shape }: Place, { convRank }: ExtractSettings): boolean {
	if (name.startsWith('te')) return /_(self_attn_(q|k|v|out)_proj|mlp_fc[12])$/.test(name);
	if (!/^(input_blocks_[1-9]|middle_block|output_blocks)/.test(name)) return false;
	return isTransformer(name) ? shape.length >= 2 : convRank > 0 && isResidual(name);
}

async function rowsOf(file: SafetensorsFile, { tensor, firstRow, rows, shape }: Place): Promise<Float32Array> {
	const columns = shape.slice(1).reduce((a, b) => a * b, 1);
	const whole = await file.readFloat32(tensor);
	return whole.subarray(firstRow * columns, (firstRow + rows) * columns);
}

/** Rows with the same span, orthonormal; directions that the rows do not have are left out. Twice, so that they are so to the last digit. */
function orthonormal(rows: Float32Array, count: number): Float32Array {
	let [current, n] = [rows, count];
	for (let pass = 0; pass < 2; pass++) {
		const { values, vectors } = symmetricEigen(gram(current, n), n);
		const kept = values.filter((value) => value > 1e-12 * (values[0] ?? 0) && value > 0).length;
		const weights = vectors.slice(0, kept * n).map((x, i) => x / Math.sqrt(values[Math.floor(i / n)] ?? 1));
		[current, n] = [combine(weights, current, n), kept];
	}
	return current;
}

/** rows·xᵀ for rows `[p, L]` and x `[n, L]`: `[p, n]`. */
function inner(rows: Float32Array, p: number, x: Float32Array, n: number): Float32Array {
	const length = x.length / n;
	const out = new Float32Array(p * n);
	for (let i = 0; i < n; i++) {
		for (let r = 0; r < p; r++) {
			let sum = 0;
			for (let k = 0; k < length; k++) sum += (rows[r * length + k] ?? 0) * (x[i * length + k] ?? 0);
			out[r * n + i] = sum;
		}
	}
	return out;
}

const wide = (x: Float32Array): Float64Array => Float64Array.from(x);

/** Qᵀ `[p, rows]` and QᵀΔW `[p, columns]`. @param delta `[rows, columns]` */
export function rangeOf(delta: Float32Array, rows: number, rank: number, seed: number): { basis: Float32Array; rest: Float32Array; count: number } {
	const columns = delta.length / rows;
	const p = Math.min(rank + OVERSAMPLING, rows, columns);
	const directions = Float32Array.from(new UniformStream(seed, [0x45787472, 0]).take(0, p * columns), (x) => x - 0.5);
	let basis = orthonormal(inner(directions, p, delta, rows), p);
	for (let power = 0; power < POWERS; power++) {
		const back = orthonormal(combine(wide(basis), delta, rows), basis.length / rows);
		basis = orthonormal(inner(back, back.length / columns, delta, rows), back.length / columns);
	}
	const count = basis.length / rows;
	return { basis, rest: combine(wide(basis), delta, rows), count };
}

/** The best factors of that rank. */
function factorsOf(delta: Float32Array, stack: Stack, rank: number, seed: number): (MergedModule & { sigma: Float64Array }) | undefined {
	const { basis, rest, count } = rangeOf(delta, stack.rows, rank, seed);
	if (count === 0) return undefined;
	const one: Stack = { ...stack, parts: [{ lora: 0, rank: count, scale: 1, load: () => Promise.resolve({ down: rest, up: transposed(basis, stack.rows) }) }] };
	const factors = { downs: rest, ups: basis };
	const prepared = prepareStack(one, factors);
	const spectrum = spectrumOf(prepared, [1]);
	const kept = Math.min(rank, spectrum.sigma.length);
	if (kept === 0) return undefined;
	const { name, part, block, rows, columns, kernel } = stack;
	return {
		name,
		part,
		block,
		rows,
		columns,
		kernel,
		rank: kept,
		alpha: kept,
		...approximate(prepared, factors, spectrum, kept),
		sigma: spectrum.sigma.slice(0, kept)
	};
}

/** @throws LoraError `extract.shapes`, `extract.same`; FormatError */
export async function extractLora(
	tuned: SafetensorsFile,
	base: SafetensorsFile,
	settings: ExtractSettings,
	onProgress?: (share: number) => void
): Promise<{ bytes: Uint8Array<ArrayBuffer>; report: MergeReport }> {
	const started = performance.now();
	const [ours, theirs] = [modulePlaces(tuned.tensors), modulePlaces(base.tensors)];
	const pairs = [...ours].filter(([name, place]) => selected(name, place, settings)).map(([name, place]) => ({ name, place, other: theirs.get(name) }));
	for (const { name, place, other } of pairs) {
		if (other && other.shape.join() === place.shape.join()) continue;
		const [a, b] = [place.shape.join('×'), other ? other.shape.join('×') : 'missing'];
		const message = `${name} is ${a} in ${settings.tuned} but ${b} in ${settings.base}. Choose two checkpoints of the same architecture.`;
		throw new LoraError('extract.shapes', name, message, { tensor: name, tuned: a, base: b });
	}
	const found: (MergedModule & { sigma: Float64Array; square: number })[] = [];
	let textEncoder = 0;
	for (const [i, { name, place, other }] of pairs.entries()) {
		onProgress?.(i / pairs.length);
		if (!other) continue;
		const delta = (await rowsOf(tuned, place)).slice();
		const before = await rowsOf(base, other);
		let [square, largest] = [0, 0];
		for (let k = 0; k < delta.length; k++) {
			const d = (delta[k] ?? 0) - (before[k] ?? 0);
			delta[k] = d;
			square += d * d;
			largest = Math.max(largest, Math.abs(d));
		}
		if (!Number.isFinite(square)) {
			throw new LoraError('lora.notFinite', place.tensor, `${place.tensor} holds infinities or NaN in one of the checkpoints. Choose another file.`);
		}
		const part = name.startsWith('te') ? 'te' : 'unet';
		if (part === 'te') textEncoder = Math.max(textEncoder, largest);
		if (square === 0) continue;
		const kernel = place.shape.slice(2).some((side) => side !== 1) ? place.shape.slice(2) : [];
		const stack: Stack = {
			name,
			part,
			block: part === 'te' ? 'BASE' : blockOfName(name),
			rows: place.rows,
			columns: delta.length / place.rows,
			kernel,
			parts: []
		};
		const module = factorsOf(delta, stack, kernel.length > 0 ? settings.convRank : settings.rank, i);
		if (!module) continue;
		found.push({ ...module, square });
	}
	const modules = found.filter(({ part }) => part === 'unet' || textEncoder > TEXT_ENCODER_THRESHOLD);
	if (modules.length === 0)
		throw new LoraError('extract.same', '', `${settings.tuned} and ${settings.base} have the same weights: there is nothing to extract.`);
	const tally = new Tally();
	let [whole, kept] = [0, 0];
	for (const { block, rank, sigma, square } of modules) {
		tally.add(block, rank, sigma);
		whole += square;
		kept += Math.min(
			square,
			sigma.reduce((sum, s) => sum + s * s, 0)
		);
	}
	const { family, name, precision } = settings;
	const dimension = { kind: 'fixed', rank: settings.rank } as const;
	const metadata = {
		...mergeMetadata(modules, family, { name, method: 'svd', dimension, convDimension: null, precision, parts: [] }, [], new Date()),
		ss_training_comment: `extracted: ${settings.tuned} minus ${settings.base}`,
		'modelspec.merged_from': `${settings.tuned}, ${settings.base}`
	};
	const bytes = await writeHashed(mergedTensors(modules, family, precision), metadata);
	const report: MergeReport = {
		family,
		modules: modules.length,
		textEncoderModules: modules.filter(({ part }) => part === 'te').length,
		ranks: tally.ranks,
		norm: Math.sqrt(whole),
		kept: whole > 0 ? kept / whole : 1,
		energy: tally.energy,
		blocks: tally.blocks,
		seconds: (performance.now() - started) / 1000,
		device: 'cpu'
	};
	return { bytes, report };
}
