/** The metrics of all cells that are drawn, one after the other: pixels are unpacked only while they are compared. */
import type { PlotRegion } from '../../recipe/plot';
import type { PlotCell } from '../../recipe/plot-cells';
import { measureCell, type CellMetrics } from '../../recipe/plot-metrics';
import type { Pictures } from './pictures';

/** @param current false: what is measured is not wanted any more @returns metrics by key; null when they were not wanted to the end */
export async function measureAll(
	cells: readonly PlotCell[],
	pictures: Pictures,
	region: PlotRegion | null,
	current: () => boolean
): Promise<ReadonlyMap<string, CellMetrics> | null> {
	const metrics = new Map<string, CellMetrics>();
	for (const { key, baseKey } of cells) {
		if (metrics.has(key)) continue;
		const base = await pictures.pixels(baseKey);
		const cell = base && (await pictures.pixels(key));
		if (!current()) return null;
		if (base && cell && base.width === cell.width && base.height === cell.height) metrics.set(key, measureCell(cell, base, region));
	}
	return metrics;
}
