/**
 * Where everything stands on the picture of a whole plot, for any way of drawing text (a canvas, a bitmap font).
 *
 * Rules (those of WebUI's legend)
 * - font size = (cell width + cell height) div 25, at least 8; lines of a label are half of that apart; labels are centred and wrapped at blanks.
 * - Margin on top: the tallest column label and two gaps. Margin on the left: three quarters of a cell when there are row labels, else none.
 * - Grids of the Z axis stand below each other, each under its own label.
 */

export interface SheetLabel {
	lines: string[];
	/** Centre of the label. */
	x: number;
	y: number;
	/** Distance of the lines' centres. */
	leading: number;
}

export interface SheetLayout {
	width: number;
	height: number;
	font: number;
	/** Upper left corners, in the order of the cells (x, then y, then z). */
	cells: { x: number; y: number }[];
	labels: SheetLabel[];
}

export interface SheetInput {
	cellWidth: number;
	cellHeight: number;
	/** One empty label where there is no axis. */
	columns: readonly string[];
	rows: readonly string[];
	grids: readonly string[];
	/** Width of a text in pixels. */
	measure: (text: string, font: number) => number;
}

/** Breaks at blanks and behind commas; words that are too long alone are broken anywhere. */
export function wrapText(text: string, width: number, measure: (text: string) => number): string[] {
	const lines: string[] = [];
	let line = '';
	const put = (piece: string): void => {
		if (measure((line + piece).trimEnd()) <= width) {
			line += piece;
			return;
		}
		if (line.trim() !== '') lines.push(line.trimEnd());
		line = '';
		for (const letter of piece.trimStart()) {
			if (line !== '' && measure(line + letter) > width) {
				lines.push(line);
				line = '';
			}
			line += letter;
		}
	};
	for (const piece of text.match(/[^\s,]*(?:[\s,]+|$)/g) ?? []) if (piece !== '') put(piece);
	if (line.trim() !== '') lines.push(line.trimEnd());
	return lines;
}

export function layoutSheet({ cellWidth, cellHeight, columns, rows, grids, measure }: SheetInput): SheetLayout {
	const font = Math.max(8, Math.floor((cellWidth + cellHeight) / 25));
	const gap = Math.floor(font / 2);
	const leading = font + gap;
	const wrap = (text: string, width: number): string[] => wrapText(text, width, (part) => measure(part, font));
	const heightOf = (lines: readonly string[]): number => (lines.length === 0 ? 0 : lines.length * leading - gap);

	const left = rows.some((row) => row !== '') ? Math.floor((cellWidth * 3) / 4) : 0;
	const width = left + cellWidth * columns.length;
	const columnLines = columns.map((text) => wrap(text, cellWidth - gap));
	const rowLines = rows.map((text) => wrap(text, left - gap));
	const tallest = Math.max(...columnLines.map(heightOf));
	const top = tallest > 0 ? tallest + 2 * gap : 0;
	const cells: SheetLayout['cells'] = [];
	const labels: SheetLabel[] = [];
	let y = 0;
	for (const grid of grids) {
		const title = wrap(grid, width - gap);
		if (title.length > 0) {
			const space = heightOf(title) + 2 * gap;
			labels.push({ lines: title, x: width / 2, y: y + space / 2, leading });
			y += space;
		}
		columnLines.forEach((lines, i) => {
			if (lines.length > 0) labels.push({ lines, x: left + (i + 0.5) * cellWidth, y: y + top / 2, leading });
		});
		y += top;
		rowLines.forEach((lines) => {
			if (lines.length > 0) labels.push({ lines, x: left / 2, y: y + cellHeight / 2, leading });
			for (let i = 0; i < columns.length; i++) cells.push({ x: left + i * cellWidth, y });
			y += cellHeight;
		});
	}
	return { width, height: y, font, cells, labels };
}
