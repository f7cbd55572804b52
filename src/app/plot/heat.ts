/** How strongly a cell is coloured by one of its metrics, 0…1. Likeness is turned round: what differs most is coloured most. */
import type { CellMetrics } from '../../recipe/plot-metrics';

export const HEATS = ['none', 'inside', 'outside', 'similarity'] as const;
export type Heat = (typeof HEATS)[number];

/** @param largest of the metric in the plot; null: not coloured */
export function heatShare(metrics: CellMetrics, heat: Heat, largest: number): number | null {
	if (heat === 'none') return null;
	if (heat === 'similarity') return Math.min(1, Math.max(0, 1 - metrics.similarity));
	const value = metrics[heat];
	return value === null ? null : Math.min(1, value / largest);
}
