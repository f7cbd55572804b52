/**
 * A LoRA out of two checkpoints: the best approximation of given rank to what fine-tuning changed, tensor by tensor, without a full SVD.
 *
 * Rules
 * - A randomised range finder gives rank + 8 directions (`range.ts`); the exact decomposition of ΔW on them is the result.
 * - Targets: every Linear and 1×1 convolution inside of UNet transformers, with a conv rank the residual blocks too; text encoders' attention and MLP when any of their weights
 *   differs by more than 0.01 (kohya's rule). Alpha = rank, kohya's names.
 * Source: the reference on extraction.
 */
import type { SafetensorsFile } from '../formats/safetensors';
import type { MergePrecision } from '../recipe/merge';
import type { ModelFamily } from '../recipe/recipe';
import { modulePlaces } from './checkpoint-modules';
import type { Place } from './checkpoint-modules';
import { LoraError } from './error';
import { blockOfName } from './keys';
import type { Stack } from './merge-files';
import { approximate, prepareStack, spectrumOf } from './merge-solve';
import { Tally } from './merge-tally';
import type { MergedModule, MergeReport } from './merge-types';
import { mergedTensors, mergeMetadata, writeHashed } from './merge-write';
import { RangeFinder } from './range';

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
	return file.readPart(tensor, firstRow * columns, rows * columns);
}

/** after − before, its ‖·‖² and its largest number. */
function difference(after: Float32Array, before: Float32Array): { delta: Float32Array; square: number; largest: number } {
	const delta = new Float32Array(after.length);
	let [square, largest] = [0, 0];
	for (let k = 0; k < delta.length; k++) {
		const d = (after[k] ?? 0) - (before[k] ?? 0);
		delta[k] = d;
		square += d * d;
		if (d > largest) largest = d;
		else if (-d > largest) largest = -d;
	}
	return { delta, square, largest };
}

/** The best factors of that rank. */
async function factorsOf(
	finder: RangeFinder,
	delta: Float32Array,
	stack: Stack,
	rank: number,
	seed: number
): Promise<(MergedModule & { sigma: Float64Array }) | undefined> {
	const { directions, images, count } = await finder.find(delta, stack.rows, rank, seed);
	if (count === 0) return undefined;
	const factors = { downs: directions, ups: images };
	const prepared = prepareStack(
		{ ...stack, parts: [{ lora: 0, rank: count, scale: 1, load: () => Promise.reject(new Error('Its factors are at hand.')) }] },
		factors
	);
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
	const finder = await RangeFinder.open();
	try {
		for (const [i, { name, place, other }] of pairs.entries()) {
			onProgress?.(i / pairs.length);
			if (!other) continue;
			const { delta, square, largest } = difference(await rowsOf(tuned, place), await rowsOf(base, other));
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
			const module = await factorsOf(finder, delta, stack, kernel.length > 0 ? settings.convRank : settings.rank, i);
			if (!module) continue;
			found.push({ ...module, square });
		}
	} finally {
		await finder.close();
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
