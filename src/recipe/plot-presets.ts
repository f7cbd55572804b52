/**
 * Plots one asks for again and again, as axes to be laid over any plot.
 * - review: strengths −1…2 in halves across, seeds 1111, 2222 and 3333 down;
 * - random: nine drawn seeds at 1.0, 1.5 and 2.0;
 * - steps: the files of one run across, strengths down, to see when it was done;
 * - blocks: which blocks carry the change.
 */
import type { AxisName, Plot, PlotAxis } from './plot';
import { parseNumbers } from './plot-values';

export const PLOT_PRESETS = ['review', 'random', 'steps', 'blocks'] as const;
export type PlotPreset = (typeof PLOT_PRESETS)[number];

const numbers = (text: string): number[] => {
	const parsed = parseNumbers(text, false);
	return parsed.ok ? parsed.values : [];
};
const strengths = (text: string): PlotAxis => ({ kind: 'strength', loras: [], values: numbers(text) });

/** @param draw gives seeds @returns the three axes; everything else of the plot stays */
export function presetAxes(preset: PlotPreset, plot: Pick<Plot, 'loras'>, draw: () => number): Record<AxisName, PlotAxis | null> {
	switch (preset) {
		case 'review':
			return { x: strengths('-1 - 2 [7]'), y: { kind: 'seed', values: [1111, 2222, 3333] }, z: null };
		case 'random':
			return { x: strengths('1, 1.5, 2'), y: { kind: 'seed', values: Array.from({ length: 9 }, draw) }, z: null };
		case 'steps':
			return { x: { kind: 'lora', values: plot.loras.map(({ name }) => name) }, y: strengths('0.5, 1, 1.5'), z: null };
		case 'blocks':
			return {
				x: { kind: 'blocks', loras: [], values: ['ALL', 'INALL', 'MIDD', 'OUTD', 'OUTS', 'OUTALL', 'NONE'] },
				y: { kind: 'seed', values: [1111, 2222] },
				z: null
			};
	}
}
