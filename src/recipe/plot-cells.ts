/**
 * A plot expanded to its cells: what exactly is drawn in each, and under which key the picture is kept.
 *
 * Rules
 * - Order as in WebUI: cell (ix, iy, iz) has index ix + iy·nx + iz·nx·ny. Axes act in the order X, Y, Z; prompt replacements act on the
 *   result of the one before.
 * - The effect of a LoRA at use is strength · ratio · block weight; one whose product is 0 everywhere is left out, so that strength 0 is the
 *   same cell as no LoRA at all: the base of its seed and prompt.
 * - The key is the SHA-256 of everything that determines the picture: model and LoRA hashes, prompts, numbers, and the version of the
 *   drawing. Names, axes, order and the region are not in it, so moving an axis redraws nothing that is known.
 */
import { AXES, axisLength, lorasOfValue, parseDimension } from './plot';
import type { BlockWeights, Plot, PlotAxis, PlotDimension, PlotLora } from './plot';
import { blockWeights } from './plot-blocks';
import type { SamplerKind } from './recipe';

/** Raise it when the same settings draw other pictures than before. */
const DRAWING = 2;

export interface CellPart {
	sha256: string;
	ratio: number;
	/** null: 1 everywhere. */
	blocks: BlockWeights | null;
}

/** One network at use: a file as it is (one part at ratio 1), or its parts merged into a dimension. */
export interface CellNetwork {
	parts: CellPart[];
	/** null: not merged; then there is one part. */
	dimension: PlotDimension | null;
	strength: number;
}

/** Everything that determines a picture, the model apart. */
export interface CellSettings {
	prompt: string;
	negative: string;
	seed: number;
	steps: number;
	cfg: number;
	sampler: SamplerKind;
	width: number;
	height: number;
	networks: CellNetwork[];
}

export interface PlotCell {
	/** Position on each axis; 0 where there is none. */
	at: { x: number; y: number; z: number };
	key: string;
	settings: CellSettings;
	/** The LoRAs as a prompt would name them, strength 0 included, for the text in the picture. */
	used: { name: string; strength: number }[];
	/** Key of the same picture without any LoRA; its own key for a base. */
	baseKey: string;
}

interface State {
	prompt: string;
	negative: string;
	seed: number;
	steps: number;
	cfg: number;
	sampler: SamplerKind;
	dimension: string;
	loras: (PlotLora & { active: boolean })[];
}

const touches = (axis: { loras: string[] }, lora: PlotLora): boolean => axis.loras.length === 0 || axis.loras.includes(lora.name);

function apply(state: State, axis: PlotAxis, index: number): void {
	switch (axis.kind) {
		case 'strength':
		case 'ratio':
			for (const lora of state.loras) if (touches(axis, lora)) lora[axis.kind] = axis.values[index] ?? 0;
			return;
		case 'blocks':
			for (const lora of state.loras) if (touches(axis, lora)) lora.blocks = axis.values[index] ?? '';
			return;
		case 'lora': {
			const names = lorasOfValue(
				axis.values[index] ?? '',
				state.loras.map(({ name }) => name)
			);
			for (const lora of state.loras) lora.active = names.includes(lora.name);
			return;
		}
		case 'prompt': {
			const [search = '', value = ''] = [axis.values[0], axis.values[index]];
			state.prompt = state.prompt.replaceAll(search, () => value);
			state.negative = state.negative.replaceAll(search, () => value);
			return;
		}
		case 'sampler':
			state.sampler = axis.values[index] ?? 'ddim';
			return;
		case 'dimension':
			state.dimension = axis.values[index] ?? '';
			return;
		case 'seed':
		case 'steps':
		case 'cfg':
			state[axis.kind] = axis.values[index] ?? 0;
	}
}

const round = (value: number): number => Number(value.toFixed(8)) + 0;
const isZero = (blocks: BlockWeights | null): boolean => blocks !== null && Object.values(blocks).every((weight) => weight === 0);

/** The networks of a state; `hashOf` gives a LoRA's hash by its name. */
function networksOf(state: State, hashOf: (lora: PlotLora) => string): CellNetwork[] {
	const used = state.loras
		.filter(({ active }) => active)
		.map((lora) => ({ ...lora, weights: blockWeights(lora.blocks) ?? null, sha256: hashOf(lora) }))
		.filter(({ strength, ratio, weights }) => strength * ratio !== 0 && !isZero(weights));
	const dimension = state.dimension === '' ? null : parseDimension(state.dimension);
	if (dimension === null || used.length === 0)
		return used.map(({ strength, ratio, weights, sha256 }) => ({
			parts: [{ sha256, ratio: 1, blocks: weights }],
			dimension: null,
			strength: round(strength * ratio)
		}));
	// Merging is linear in a common factor: what all strengths share stays outside, so that a strength axis needs one merge only.
	const common = used[0]?.strength ?? 1;
	const shared = used.every(({ strength }) => strength === common);
	const parts = used.map(({ strength, ratio, weights, sha256 }) => ({ sha256, ratio: round(shared ? ratio : ratio * strength), blocks: weights }));
	return [{ parts, dimension, strength: shared ? common : 1 }];
}

export async function sha256Hex(text: string): Promise<string> {
	const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text)));
	return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Settings as one text in which the order of fields never varies. */
function canonical(model: string, { networks, ...rest }: CellSettings): string {
	const { prompt, negative, seed, steps, cfg, sampler, width, height } = rest;
	const weights = (blocks: BlockWeights | null) => blocks && Object.entries(blocks).sort(([a], [b]) => (a < b ? -1 : 1));
	const part = ({ sha256, ratio, blocks }: CellPart) => [sha256, ratio, weights(blocks)];
	const dimension = (d: PlotDimension | null) => d && (d.kind === 'fixed' ? d.rank : d.kind === 'energy' ? `energy ${d.keep}` : 'auto');
	return JSON.stringify([
		DRAWING,
		model,
		prompt,
		negative,
		seed,
		steps,
		cfg,
		sampler,
		width,
		height,
		networks.map((network) => [network.parts.map(part), dimension(network.dimension), network.strength])
	]);
}

/** How cells' keys name a model that draws otherwise than its file alone would: with another VAE (its fingerprint), or predicting velocity. */
export function drawnBy(model: string, said: { readonly vae?: string | undefined; readonly prediction?: 'v' | undefined }): string {
	return [model, ...(said.vae === undefined ? [] : [`vae ${said.vae}`]), ...(said.prediction === undefined ? [] : [said.prediction])].join(' ');
}

export interface Expansion {
	/** Of the model's file, or its name where the hash is not known; see `drawnBy`. */
	model: string;
	/** Pixels where the plot says 0. */
	resolution: number;
}

/** All cells in order. Seeds must be fixed and every LoRA needs its hash. */
export async function expandPlot(plot: Plot, { model, resolution }: Expansion): Promise<PlotCell[]> {
	const hashOf = ({ name, sha256 }: PlotLora): string => {
		if (sha256 === undefined) throw new Error(`The hash of ${name} is not known.`);
		return sha256;
	};
	const [nx, ny, nz] = [axisLength(plot.x), axisLength(plot.y), axisLength(plot.z)];
	const cells: PlotCell[] = [];
	const keys = new Map<string, Promise<string>>();
	const keyOf = (settings: CellSettings): Promise<string> => {
		const text = canonical(model, settings);
		const key = keys.get(text) ?? sha256Hex(text);
		keys.set(text, key);
		return key;
	};
	for (let index = 0; index < nx * ny * nz; index++) {
		const at = { x: index % nx, y: Math.floor(index / nx) % ny, z: Math.floor(index / (nx * ny)) };
		const { prompt, negative, seed, steps, cfg, sampler, dimension, width, height } = plot.base;
		const state: State = { prompt, negative, seed, steps, cfg, sampler, dimension, loras: plot.loras.map((lora) => ({ ...lora, active: true })) };
		for (const name of AXES) if (plot[name]) apply(state, plot[name], at[name]);
		const settings: CellSettings = {
			prompt: state.prompt,
			negative: state.negative,
			seed: state.seed,
			steps: state.steps,
			cfg: state.cfg,
			sampler: state.sampler,
			width: width || resolution,
			height: height || resolution,
			networks: networksOf(state, hashOf)
		};
		const used = state.loras.filter(({ active }) => active).map(({ name, strength, ratio }) => ({ name, strength: round(strength * ratio) }));
		cells.push({ at, key: await keyOf(settings), settings, used, baseKey: await keyOf({ ...settings, networks: [] }) });
	}
	return cells;
}

/** What there is to draw: every key once, bases of other cells included, without those that are `known`. */
export async function missingCells(
	cells: readonly PlotCell[],
	known: (key: string) => boolean | Promise<boolean>,
	withBases: boolean
): Promise<Map<string, CellSettings>> {
	const missing = new Map<string, CellSettings>();
	for (const { key, baseKey, settings } of cells) {
		if (withBases && !missing.has(baseKey) && !(await known(baseKey))) missing.set(baseKey, { ...settings, networks: [] });
		if (!missing.has(key) && !(await known(key))) missing.set(key, settings);
	}
	return missing;
}
