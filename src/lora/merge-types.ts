/** What a merge makes and says about itself, and what a comparison of LoRAs shows. Plain data: it travels through the service as it is. */
import type { ModulePart } from './keys';
import type { Pair } from './merge-files';
import type { RatioAdvice } from '../recipe/merge-advice';
import type { BlockId, ModelFamily } from '../recipe/recipe';

export interface MergedModule extends Pair {
	/** Checkpoint path with underscores, or `te1_…`, `te2_…`. */
	readonly name: string;
	readonly part: ModulePart;
	readonly block: BlockId;
	readonly rows: number;
	readonly columns: number;
	readonly kernel: readonly number[];
	readonly rank: number;
	readonly alpha: number;
}

export interface BlockReport {
	block: BlockId;
	modules: number;
	/** The largest in this block. */
	rank: number;
	/** Frobenius norm of the change at strength 1. */
	norm: number;
	/** √Σσₖ² over the block's modules for k = 1, 2, …; empty where it was not needed. */
	spectrum: number[];
	/** Share of Σσ² that dimension 1, 2, … keeps; what it loses is the rest. */
	energy: number[];
}

export interface MergeReport {
	family: ModelFamily;
	modules: number;
	textEncoderModules: number;
	/** How many modules have this rank. */
	ranks: Record<string, number>;
	/** Frobenius norm of the exact weighted sum. */
	norm: number;
	/** Share of Σσ² that the result keeps; null for `average`, which does not approximate the sum. */
	kept: number | null;
	/** As in `BlockReport`, over all modules: what another dimension would keep. */
	energy: number[];
	/** Of the exact sum. */
	blocks: BlockReport[];
	seconds: number;
	device: 'cpu' | 'gpu';
}

export interface ComparedLora {
	name: string;
	/** Of the architecture, for people. */
	title: string;
	modules: number;
	textEncoderModules: number;
	ranks: Record<string, number>;
	alphas: Record<string, number>;
	norm: number;
	energy: number[];
	blocks: BlockReport[];
	metadata: Record<string, string>;
}

export interface LoraComparison {
	family: ModelFamily;
	files: ComparedLora[];
	/** Cosine between the changes, −1 to 1. */
	similarity: number[][];
	/** Frobenius inner products, for `effectOf`. */
	products: number[][];
	advice: RatioAdvice;
}
