/** The picture of a whole plot without a browser: cells side by side, labels in dots (`glyphs.ts`), the places as in `recipe/plot-layout.ts`. */
import type { Picture } from '../formats/png';
import { layoutSheet } from '../recipe/plot-layout';
import { glyph, GLYPH_HEIGHT, GLYPH_WIDTH } from './glyphs';

/** Pixels of one dot. */
const dotOf = (font: number): number => Math.max(1, Math.floor(font / 9));
const advance = (font: number): number => (GLYPH_WIDTH + 1) * dotOf(font);

function drawText(sheet: Picture, text: string, centreX: number, centreY: number, font: number): void {
	const dot = dotOf(font);
	const letters = [...text];
	let left = Math.round(centreX - (letters.length * advance(font) - dot) / 2);
	const top = Math.round(centreY - (GLYPH_HEIGHT * dot) / 2);
	for (const letter of letters) {
		glyph(letter).forEach((column, i) => {
			for (let row = 0; row < GLYPH_HEIGHT; row++) if ((column >> row) & 1) fill(sheet, left + i * dot, top + row * dot, dot);
		});
		left += advance(font);
	}
}

function fill({ width, height, data }: Picture, left: number, top: number, side: number): void {
	for (let y = Math.max(0, top); y < Math.min(height, top + side); y++)
		for (let x = Math.max(0, left); x < Math.min(width, left + side); x++) data.set([0, 0, 0], 4 * (y * width + x));
}

export interface Labels {
	columns: readonly string[];
	rows: readonly string[];
	grids: readonly string[];
}

/** @param cells in the order of the plot, all of one size; undefined: not drawn, stays grey */
export function drawSheet(cells: readonly (Picture | undefined)[], labels: Labels, size: { width: number; height: number }): Picture {
	const layout = layoutSheet({
		cellWidth: size.width,
		cellHeight: size.height,
		...labels,
		measure: (text, font) => [...text].length * advance(font)
	});
	const sheet = { width: layout.width, height: layout.height, data: new Uint8ClampedArray(4 * layout.width * layout.height).fill(255) };
	layout.cells.forEach(({ x, y }, i) => {
		const cell = cells[i];
		for (let row = 0; row < size.height; row++) {
			const at = 4 * ((y + row) * sheet.width + x);
			if (cell) sheet.data.set(cell.data.subarray(4 * row * size.width, 4 * (row + 1) * size.width), at);
			else for (let i = 0; i < 4 * size.width; i++) sheet.data[at + i] = i % 4 === 3 ? 255 : 224;
		}
	});
	for (const { lines, x, y, leading } of layout.labels)
		lines.forEach((line, i) => drawText(sheet, line, x, y + (i - (lines.length - 1) / 2) * leading, layout.font));
	return sheet;
}
