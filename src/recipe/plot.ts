/**
 * The definition of a plot: fixed settings, the LoRAs at work, and up to three axes that vary one thing each (X across, Y down, Z one grid
 * per value). `plot-schema.ts` makes it from anything, `plot-cells.ts` expands it to cells.
 *
 * Rules
 * - Every LoRA takes part with strength · ratio; strength is what the prompt would say, ratio its share in a merge.
 * - With a dimension the LoRAs are merged (by SVD) into one of that dimension before they are used; without one they are applied side by
 *   side, which is the same merge without any loss.
 * - Seeds are whole numbers; -1 stands for "draw one", and is replaced once and written down (`fixSeeds`).
 */
import type { BlockId, ModelRef, SamplerKind } from './recipe';

/** Factor per block; a block that is not named counts 0, null means 1 everywhere. */
export type BlockWeights = Partial<Record<BlockId, number>>;

/** Of a merge: fixed rank, the largest of the parts, or as many as keep this share of Σσ². */
export type PlotDimension = { kind: 'fixed'; rank: number } | { kind: 'auto' } | { kind: 'energy'; keep: number };

export interface PlotLora {
	/** Unique within the plot; axes call it by this name. */
	name: string;
	sha256?: string;
	/** Only on the command line, relative to the plot's file. */
	path?: string;
	strength: number;
	ratio: number;
	/** Name of a block preset or a list of weights as in SuperMerger; empty: every block at 1. */
	blocks: string;
}

export interface PlotBase {
	prompt: string;
	negative: string;
	seed: number;
	steps: number;
	cfg: number;
	sampler: SamplerKind;
	/** Pixels; 0: the size the model was made for. */
	width: number;
	height: number;
	/** Merge into this dimension before use; empty: apply side by side. */
	dimension: string;
}

/** `loras`: which LoRAs the axis moves; empty means all of them. */
export type PlotAxis =
	| { kind: 'strength'; loras: string[]; values: number[] }
	| { kind: 'ratio'; loras: string[]; values: number[] }
	| { kind: 'seed'; values: number[] }
	| { kind: 'steps'; values: number[] }
	| { kind: 'cfg'; values: number[] }
	| { kind: 'sampler'; values: SamplerKind[] }
	/** Names joined by "+" are used together, "none" is the model alone. */
	| { kind: 'lora'; values: string[] }
	| { kind: 'blocks'; loras: string[]; values: string[] }
	/** The first value is what is searched for; every value replaces it, the first included. */
	| { kind: 'prompt'; values: string[] }
	| { kind: 'dimension'; values: string[] };

export type AxisKind = PlotAxis['kind'];
export const AXIS_KINDS = [
	'strength',
	'seed',
	'lora',
	'blocks',
	'prompt',
	'steps',
	'cfg',
	'sampler',
	'ratio',
	'dimension'
] as const satisfies readonly AxisKind[];

/** A rectangle in fractions of width and height, for the metrics; it changes no picture. */
export interface PlotRegion {
	left: number;
	top: number;
	right: number;
	bottom: number;
}

export interface Plot {
	version: 1;
	name: string;
	/** `prediction`: v where the file does not say so. */
	model: ModelRef & { prediction?: 'v' };
	loras: PlotLora[];
	base: PlotBase;
	x: PlotAxis | null;
	y: PlotAxis | null;
	z: PlotAxis | null;
	region: PlotRegion | null;
}

export const AXES = ['x', 'y', 'z'] as const;
export type AxisName = (typeof AXES)[number];

/** More cells than this are a mistake in a range. */
export const MAX_CELLS = 4096;

/** What every axis holds in common, whatever its values are. */
export function axisLength(axis: PlotAxis | null): number {
	return axis === null ? 1 : axis.values.length;
}

export function countCells(plot: Pick<Plot, AxisName>): number {
	return axisLength(plot.x) * axisLength(plot.y) * axisLength(plot.z);
}

/** Replaces every -1 by a number of its own. @param draw gives whole numbers from 0 to 2³² − 1 */
export function fixSeeds(plot: Plot, draw: () => number): Plot {
	const fixed = structuredClone(plot);
	if (fixed.base.seed < 0) fixed.base.seed = draw();
	for (const name of AXES) {
		const axis = fixed[name];
		if (axis?.kind === 'seed') axis.values = axis.values.map((seed) => (seed < 0 ? draw() : seed));
	}
	return fixed;
}

/** True while a seed is still to be drawn. */
export function hasOpenSeeds(plot: Plot): boolean {
	return plot.base.seed < 0 || AXES.some((name) => plot[name]?.kind === 'seed' && plot[name].values.some((seed) => Number(seed) < 0));
}

/** "8", "auto", "energy=0.99" (0.99 alone means energy too); null when it is none of them. */
export function parseDimension(text: string): PlotDimension | null {
	const word = text.trim().toLowerCase();
	if (word === 'auto') return { kind: 'auto' };
	const energy = /^energy\s*=\s*(.+)$/.exec(word)?.[1];
	const value = Number(energy ?? word);
	if (word === '' || !Number.isFinite(value) || value <= 0) return null;
	if (energy !== undefined || value < 1) return value <= 1 ? { kind: 'energy', keep: value } : null;
	return Number.isInteger(value) && value <= 1024 ? { kind: 'fixed', rank: value } : null;
}

/** "a+b" → [a, b]; "none" → []; a name that holds a plus sign is taken whole when the plot knows it. */
export function lorasOfValue(value: string, known: readonly string[]): string[] {
	if (known.includes(value.trim())) return [value.trim()];
	if (value.trim().toLowerCase() === 'none') return [];
	return value
		.split('+')
		.map((name) => name.trim())
		.filter((name) => name !== '');
}
