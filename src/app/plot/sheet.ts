/** The picture of the whole plot on a canvas, with labels in any script; the places are those of `recipe/plot-layout.ts`. */
import { encodePng } from '../../formats/png';
import type { Plot } from '../../recipe/plot';
import type { PlotCell } from '../../recipe/plot-cells';
import { axisLabels } from '../../recipe/plot-labels';
import { layoutSheet } from '../../recipe/plot-layout';
import { gridParameters } from '../../service/plot-text';
import type { Pictures } from './pictures';
import type { PlotTexts } from './texts';

/** Canvases end here in common browsers. */
const MAX_SIDE = 16384;
const FONT = 'system-ui, "Hiragino Sans", "Yu Gothic UI", "Noto Sans CJK JP", sans-serif';

/** A PNG with its settings inside. Plots too large for a canvas are made smaller as a whole. */
export async function drawSheet(plot: Plot, cells: readonly PlotCell[], pictures: Pictures, texts: PlotTexts): Promise<Blob> {
	const [first] = cells;
	if (!first) throw new Error('There are no cells.');
	const title = (axis: Plot['x']): string | undefined => (axis ? texts.kinds[axis.kind] : undefined);
	const canvas = new OffscreenCanvas(1, 1);
	const context = canvas.getContext('2d', { willReadFrequently: true });
	if (!context) throw new Error('no 2d canvas');
	const layout = layoutSheet({
		cellWidth: first.settings.width,
		cellHeight: first.settings.height,
		columns: axisLabels(plot.x, title(plot.x)),
		rows: axisLabels(plot.y, title(plot.y)),
		grids: axisLabels(plot.z, title(plot.z)),
		measure: (text, size) => {
			context.font = `${size}px ${FONT}`;
			return context.measureText(text).width;
		}
	});
	const scale = Math.min(1, MAX_SIDE / layout.width, MAX_SIDE / layout.height);
	canvas.width = Math.round(layout.width * scale);
	canvas.height = Math.round(layout.height * scale);
	context.scale(scale, scale);
	context.fillStyle = '#fff';
	context.fillRect(0, 0, layout.width, layout.height);
	for (const [i, { key, settings }] of cells.entries()) {
		const [place, shown] = [layout.cells[i], pictures.get(key)];
		if (!place) continue;
		if (!shown) {
			context.fillStyle = '#e0e0e0';
			context.fillRect(place.x, place.y, settings.width, settings.height);
			continue;
		}
		const bitmap = await createImageBitmap(shown.blob, { colorSpaceConversion: 'none' });
		context.drawImage(bitmap, place.x, place.y);
		bitmap.close();
	}
	context.fillStyle = '#000';
	context.textAlign = 'center';
	context.textBaseline = 'middle';
	context.font = `${layout.font}px ${FONT}`;
	for (const { lines, x, y, leading } of layout.labels) lines.forEach((line, i) => context.fillText(line, x, y + (i - (lines.length - 1) / 2) * leading));
	const { width, height, data } = context.getImageData(0, 0, canvas.width, canvas.height);
	const png = encodePng({ width, height, data: new Uint8ClampedArray(data) }, [['parameters', gridParameters(plot, first)]]);
	return new Blob([new Uint8Array(png)], { type: 'image/png' });
}
