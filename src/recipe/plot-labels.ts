/**
 * Words on a plot: what stands at its rows and columns, and how WebUI would call its axes.
 * Labels follow WebUI: "Name: value" for numbers (8 decimals at most), the bare value for words.
 */
import type { AxisKind, Plot, PlotAxis } from './plot';

/** Names of the axes in files; the app has its own for the screen. */
const AXIS_TITLES: Readonly<Record<AxisKind, string>> = {
	strength: 'Strength',
	ratio: 'Ratio',
	seed: 'Seed',
	steps: 'Steps',
	cfg: 'CFG Scale',
	sampler: 'Sampler',
	lora: 'LoRA',
	blocks: 'Blocks',
	prompt: 'Prompt S/R',
	dimension: 'Dimension'
};

export const SAMPLER_NAMES = { ddim: 'DDIM', euler_a: 'Euler a', dpmpp_2m: 'DPM++ 2M Karras' } as const;

/** A value of an axis as text. */
export function valueText(axis: PlotAxis, index: number): string {
	const value = axis.values[index];
	if (axis.kind === 'sampler') return SAMPLER_NAMES[axis.values[index] ?? 'ddim'];
	return typeof value === 'number' ? String(Number(value.toFixed(8))) : (value ?? '');
}

/** @param title of the axis; by default its English name */
export function axisLabel(axis: PlotAxis, index: number, title: string = AXIS_TITLES[axis.kind]): string {
	const text = valueText(axis, index);
	return axis.kind === 'prompt' || axis.kind === 'lora' || axis.kind === 'blocks' ? text || '–' : `${title}: ${text}`;
}

/** All labels of an axis; one empty label where there is none. */
export function axisLabels(axis: PlotAxis | null, title?: string): string[] {
	return axis ? axis.values.map((_, i) => axisLabel(axis, i, title)) : [''];
}

/**
 * Type and values as WebUI's script names them. The strength of one LoRA is a search and replacement in the prompt there.
 * @param tag makes a LoRA's tag for the prompt
 */
export function webuiAxis(plot: Plot, axis: PlotAxis, tag: (name: string, strength: number) => string): { type: string; values: string[] } {
	const values = axis.values.map((_, i) => valueText(axis, i));
	if (axis.kind !== 'strength') return { type: AXIS_TITLES[axis.kind], values };
	const moved = plot.loras.filter(({ name }) => axis.loras.length === 0 || axis.loras.includes(name));
	const [only] = moved;
	return only && moved.length === 1
		? { type: AXIS_TITLES.prompt, values: axis.values.map((value) => tag(only.name, value)) }
		: { type: AXIS_TITLES.strength, values };
}
