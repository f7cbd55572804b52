/** What the pictures of a plot say about themselves, single cells and the whole grid, in the form WebUI reads. The command line and the screen write the same. */
import { writeLoraTag, writeParameters } from '../formats/webui';
import { AXES, type Plot } from '../recipe/plot';
import type { PlotCell } from '../recipe/plot-cells';
import { SAMPLER_NAMES, webuiAxis } from '../recipe/plot-labels';
import { joinValues } from '../recipe/plot-values';

type Setting = readonly [name: string, value: string | number];

function settingsOf(plot: Plot, { settings }: PlotCell): Setting[] {
	const { steps, sampler, cfg, seed, width, height, networks } = settings;
	const merged = networks.find(({ dimension }) => dimension !== null)?.dimension;
	return [
		['Steps', steps],
		['Sampler', SAMPLER_NAMES[sampler]],
		['CFG scale', cfg],
		['Seed', seed],
		['Size', `${width}x${height}`],
		...(plot.model.sha256 === undefined ? [] : [['Model hash', plot.model.sha256.slice(0, 10)] as const]),
		['Model', plot.model.name.replace(/\.safetensors$/, '')],
		['RNG', 'NV'],
		...(merged ? [['Merged dimension', merged.kind === 'fixed' ? merged.rank : merged.kind === 'auto' ? 'auto' : `energy=${merged.keep}`] as const] : []),
		['Version', 'Utsushi']
	];
}

function promptOf({ settings, used }: PlotCell): string {
	return [settings.prompt, ...used.map(({ name, strength }) => writeLoraTag(name, strength))].filter((part) => part !== '').join(' ');
}

/** `parameters` of one cell's picture. */
export function cellParameters(plot: Plot, cell: PlotCell): string {
	return writeParameters(promptOf(cell), cell.settings.negative, settingsOf(plot, cell));
}

/** `parameters` of the grid: those of its first cell, and the axes as WebUI's script writes them. */
export function gridParameters(plot: Plot, first: PlotCell): string {
	const axes = AXES.flatMap((name): Setting[] => {
		const axis = plot[name];
		if (!axis) return [];
		const { type, values } = webuiAxis(plot, axis, writeLoraTag);
		const title = name.toUpperCase();
		return [
			[`${title} Type`, type],
			[`${title} Values`, joinValues(values)],
			...(axis.kind === 'seed' ? [[`Fixed ${title} Values`, joinValues(axis.values)] as const] : [])
		];
	});
	return writeParameters(promptOf(first), first.settings.negative, [...settingsOf(plot, first), ['Script', 'X/Y/Z plot'], ...axes]);
}
