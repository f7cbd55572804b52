/**
 * uPlot behind a Svelte attachment: draws curves in the page's colours, follows size and theme, changes data in place. The canvas means
 * nothing to a screen reader; whoever uses it puts a sentence beside it.
 */
import type uPlot from 'uplot';

export interface Curve {
	label: string;
	/** A CSS colour, custom properties included. */
	colour: string;
	values: readonly (number | null)[];
	width?: number;
	/** Drawn faintly behind the others. */
	faint?: boolean;
	dashed?: boolean;
	points?: boolean;
}

/** An upright line at a place on the axis: something happened there. */
export interface Mark {
	x: number;
	/** A CSS colour, custom properties included. */
	colour: string;
}

export interface ChartSpec {
	x: readonly number[];
	curves: readonly Curve[];
	marks?: readonly Mark[];
	height: number;
	logarithmic: boolean;
	format: (value: number) => string;
	/** Right end of the axis, so that a running curve grows towards it. */
	last: number;
	/** Left end; 0 when absent. */
	first?: number;
	/** Numbers under the axis, when they are not plain counts. */
	formatX?: (value: number) => string;
}

/** `light-dark()` and custom properties, resolved where the chart stands. */
function resolveColour(element: HTMLElement, colour: string): string {
	const probe = document.createElement('span');
	probe.style.color = colour;
	probe.style.display = 'none';
	element.append(probe);
	const resolved = getComputedStyle(probe).color;
	probe.remove();
	return resolved;
}

/** 1, 2 and 5 of each decade in sight. */
export function logTicks(low: number, high: number): number[] {
	const ticks: number[] = [];
	for (let decade = Math.floor(Math.log10(low)); decade <= Math.ceil(Math.log10(high)); decade++)
		for (const step of [1, 2, 5]) ticks.push(Number(`${step}e${decade}`));
	return ticks.filter((tick) => tick >= low && tick <= high);
}

/** The span of all curves with some room; from 0 where the axis is linear. */
export function valueRange(curves: readonly Curve[], logarithmic: boolean): [number, number] {
	let [low, high] = [Infinity, 0];
	for (const { values } of curves) {
		for (const value of values) {
			if (value === null || !(value > 0) || value === Infinity) continue;
			low = Math.min(low, value);
			high = Math.max(high, value);
		}
	}
	if (high === 0) return logarithmic ? [0.001, 1] : [0, 1];
	return logarithmic ? [low / 1.25, high * 1.25] : [0, high * 1.08];
}

function options(spec: ChartSpec, current: () => ChartSpec, element: HTMLElement): uPlot.Options {
	const colour = (text: string) => resolveColour(element, text);
	const axis = colour('var(--muted)');
	const grid = { stroke: colour('var(--line)'), width: 1 };
	const font = `12px ${getComputedStyle(element).fontFamily}`;
	// Read through `current`, so that new data moves the axis.
	const range = (): [number, number] => valueRange(current().curves, spec.logarithmic);
	return {
		width: Math.max(200, element.clientWidth),
		height: spec.height,
		padding: [8, 16, 0, 0],
		cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
		legend: { show: false },
		hooks: { draw: [(plot) => drawMarks(plot, current().marks ?? [], colour)] },
		scales: {
			x: { time: false, range: spec.first === undefined ? [0, Math.max(1, spec.last)] : [spec.first, spec.last] },
			y: { distr: spec.logarithmic ? 3 : 1, range }
		},
		axes: [
			{
				stroke: axis,
				font,
				grid: { show: false },
				ticks: { show: false },
				size: 28,
				space: 64,
				...(spec.formatX ? { values: (_plot: uPlot, ticks: number[]) => ticks.map((tick) => spec.formatX?.(tick) ?? '') } : {})
			},
			{
				stroke: axis,
				font,
				grid,
				ticks: { show: false },
				size: 64,
				space: 32,
				...(spec.logarithmic
					? { splits: (_plot: uPlot, _axis: number, low: number, high: number) => logTicks(low, high), filter: (_plot: uPlot, ticks: number[]) => ticks }
					: {}),
				values: (_plot, ticks) => ticks.map((tick: number | null) => (tick === null ? '' : spec.format(tick)))
			}
		],
		series: [
			{},
			...spec.curves.map((curve) => ({
				label: curve.label,
				stroke: colour(curve.colour),
				width: curve.width ?? 2,
				alpha: curve.faint ? 0.28 : 1,
				points: { show: curve.points ?? false, size: 6 },
				spanGaps: false,
				...(curve.dashed ? { dash: [4, 4] } : {})
			}))
		]
	};
}

function drawMarks(plot: uPlot, marks: readonly Mark[], colour: (text: string) => string): void {
	const { ctx, bbox } = plot;
	ctx.save();
	ctx.lineWidth = 1.5 * devicePixelRatio;
	ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
	for (const mark of marks) {
		const x = plot.valToPos(mark.x, 'x', true);
		ctx.strokeStyle = colour(mark.colour);
		ctx.beginPath();
		ctx.moveTo(x, bbox.top);
		ctx.lineTo(x, bbox.top + bbox.height);
		ctx.stroke();
	}
	ctx.restore();
}

/** Draws into `element`; uPlot is loaded with the first chart. `update` redraws with new data. */
export async function drawChart(element: HTMLElement, first: ChartSpec): Promise<{ update: (spec: ChartSpec) => void; destroy: () => void }> {
	const [{ default: Plot }] = await Promise.all([import('uplot'), import('uplot/dist/uPlot.min.css')]);
	let spec = first;
	const data = (): uPlot.AlignedData => [[...spec.x], ...spec.curves.map((curve) => [...curve.values])];
	const make = (): uPlot =>
		new Plot(
			options(spec, () => spec, element),
			data(),
			element
		);
	let plot = make();
	const rebuild = () => {
		plot.destroy();
		plot = make();
	};
	const resized = new ResizeObserver(() => plot.setSize({ width: Math.max(200, element.clientWidth), height: spec.height }));
	resized.observe(element);
	const theme = new MutationObserver(rebuild);
	theme.observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme', 'lang'] });
	const scheme = matchMedia('(prefers-color-scheme: dark)');
	scheme.addEventListener('change', rebuild);
	return {
		update(next) {
			const same = next.logarithmic === spec.logarithmic && next.curves.length === spec.curves.length && next.last === spec.last;
			spec = next;
			if (same) plot.setData(data());
			else rebuild();
		},
		destroy() {
			resized.disconnect();
			theme.disconnect();
			scheme.removeEventListener('change', rebuild);
			plot.destroy();
		}
	};
}
