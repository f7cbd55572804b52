/**
 * A LoRA of smaller dimension, module by module, as kohya's `resize_lora` makes it: alpha/rank stays what it was, all of σ goes into up.
 * The rules for the ranks are in `recipe/resize.ts`. Nothing of the metadata is lost; dimension, alpha, comment and hashes become those of the result.
 */
import type { MergePrecision } from '../recipe/merge';
import { resizedRank } from '../recipe/resize';
import type { ResizeSettings } from '../recipe/resize';
import { stacksOf } from './merge-files';
import type { MergeFile } from './merge-files';
import { approximate, loadStack, prepareStack, spectrumOf } from './merge-solve';
import { Tally } from './merge-tally';
import type { MergedModule, MergeReport } from './merge-types';
import { dimensionText, mergedTensors, writeHashed } from './merge-write';
import { isPointwise } from './names';

export interface Resized {
	readonly bytes: Uint8Array<ArrayBuffer>;
	readonly report: MergeReport;
	/** Largest rank before. */
	readonly oldRank: number;
}

const METHOD_NAMES = { ratio: 'sv_ratio', cumulative: 'sv_cumulative', frobenius: 'sv_fro' } as const;

/** @throws LoraError, FormatError */
export async function resizeLora(file: MergeFile, settings: ResizeSettings, precision: MergePrecision): Promise<Resized> {
	const started = performance.now();
	const { family, stacks } = stacksOf([file]);
	const tally = new Tally();
	const modules: MergedModule[] = [];
	let [kept, whole, oldRank] = [0, 0, 0];
	for (const stack of stacks) {
		const [part] = stack.parts;
		if (!part) continue;
		oldRank = Math.max(oldRank, part.rank);
		const factors = await loadStack(stack);
		const prepared = prepareStack(stack, factors);
		// Without alpha: it goes back into the file as a number.
		const spectrum = spectrumOf(prepared, [1 / part.scale]);
		const { name, block, rows, columns, kernel } = stack;
		const fourAxes = kernel.length > 0 || (stack.part === 'unet' && isPointwise(name, family));
		const wanted = resizedRank(spectrum.sigma, Math.min(rows, columns), fourAxes ? settings.convRank : settings.rank, settings.dynamic);
		const rank = Math.max(1, wanted);
		const empty = spectrum.sigma.length === 0;
		const pair = empty ? { down: new Float32Array(rank * columns), up: new Float32Array(rows * rank) } : approximate(prepared, factors, spectrum, rank);
		const scaled = spectrum.sigma.map((s) => s * Math.abs(part.scale));
		tally.add(block, rank, scaled);
		scaled.forEach((s, k) => {
			whole += s * s;
			if (k < rank) kept += s * s;
		});
		modules.push({ name, part: stack.part, block, rows, columns, kernel, rank, alpha: part.scale * rank, ...pair });
	}
	const comment = file.metadata['ss_training_comment'] ?? '';
	const { rank, convRank, dynamic } = settings;
	const how = dynamic
		? `Dynamic resize with ${METHOD_NAMES[dynamic.method]}: ${dynamic.value} from ${oldRank}`
		: `dimension is resized from ${oldRank} to ${rank}${rank === convRank ? '' : ` (conv: ${convRank})`}`;
	const metadata = {
		...file.metadata,
		ss_training_comment: `${how}; ${comment}`,
		ss_network_dim: dimensionText(modules, (m) => m.rank),
		ss_network_alpha: dimensionText(modules, (m) => m.alpha)
	};
	const bytes = await writeHashed(mergedTensors(modules, family, precision), metadata);
	const report: MergeReport = {
		family,
		modules: modules.length,
		textEncoderModules: modules.filter((m) => m.part === 'te').length,
		ranks: tally.ranks,
		norm: Math.sqrt(whole),
		kept: whole > 0 ? Math.min(1, kept / whole) : 1,
		energy: tally.energy,
		blocks: tally.blocks,
		seconds: (performance.now() - started) / 1000,
		device: 'cpu'
	};
	return { bytes, report, oldRank };
}
