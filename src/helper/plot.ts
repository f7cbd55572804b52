/**
 * `utsushi plot`: draws a plot's cells and puts them on one labelled picture. Every cell is kept as a PNG named by its key, so a plot that was
 * stopped or changed goes on with what is missing.
 */
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { decodePng, encodePng, type Picture } from '../formats/png';
import { warningProblem } from '../jobs/problem';
import type { Plot } from '../recipe/plot';
import { expandPlot, missingCells, type PlotCell } from '../recipe/plot-cells';
import { axisLabels } from '../recipe/plot-labels';
import { measureCell, usableStrengths, type StrengthSample } from '../recipe/plot-metrics';
import { cellParameters, gridParameters } from '../service/plot-text';
import type { EventMessage } from '../service/protocol';
import { asStorageError } from '../storage/errors';
import type { PlotCommand } from './arguments';
import { EXIT, type Context, type ExitCode } from './exit';
import { isDrawable } from './glyphs';
import { jsonReporter, textReporter } from './output';
import { loadPlot } from './plotFile';
import { drawSheet } from './sheet';
import { modelSource, withTrainer } from './trainer';

const RUN = 'plot';

/** Whole or not at all: a cell that is there is a cell that was drawn. */
async function writeWhole(path: string, bytes: Uint8Array): Promise<void> {
	const partial = `${path}.${process.pid}.part`;
	try {
		await writeFile(partial, bytes);
		await rename(partial, path);
	} catch (error) {
		await rm(partial, { force: true });
		throw asStorageError(error, path, bytes.length);
	}
}

/** A cell kept before; undefined when there is none, or what is there is no picture of this size. */
async function readCell(path: string, { width, height }: { width: number; height: number }): Promise<Picture | undefined> {
	try {
		const picture = decodePng(new Uint8Array(await readFile(path)));
		return picture.width === width && picture.height === height ? picture : undefined;
	} catch {
		return undefined;
	}
}

/** Strengths of use by the plot's region, and all metrics by cell; null without a region or a base. */
function judge(plot: Plot, cells: readonly PlotCell[], pictures: ReadonlyMap<string, Picture>): { metrics: object[]; usable: object | null } {
	const samples: StrengthSample[] = [];
	const metrics = cells.flatMap(({ key, baseKey, used, at, settings }) => {
		const [cell, base] = [pictures.get(key), pictures.get(baseKey)];
		if (!cell || !base) return [];
		const measured = measureCell(cell, base, plot.region);
		const [strength] = used.map((lora) => lora.strength);
		if (strength !== undefined && settings.networks.length > 0) samples.push({ strength, metrics: measured });
		return [{ at, ...measured }];
	});
	return { metrics, usable: plot.region ? usableStrengths(samples) : null };
}

export async function plot(command: PlotCommand, context: Context): Promise<ExitCode> {
	const folder = command.cells ?? `${command.out.replace(/\.png$/i, '')}-cells`;
	const loaded = await loadPlot(command.plot, context.installation, folder);
	const { streams } = context;
	const reporter = command.json ? jsonReporter(streams) : textReporter(streams);
	for (const problem of loaded.warnings) reporter.problem(problem);
	const place = (key: string): string => join(folder, `${key}.png`);
	return withTrainer(async (client) => {
		const model = await client.request({
			type: 'openModel',
			source: await modelSource(loaded.modelFile, { vae: loaded.vaeFile, prediction: loaded.prediction })
		});
		const definition: Plot = { ...loaded.plot, model: { ...loaded.plot.model, name: model.name } };
		const cells = await expandPlot(definition, { model: loaded.model, resolution: model.resolution });
		const [first] = cells;
		if (!first) return EXIT.failed;
		const size = first.settings;
		const labels = { columns: axisLabels(definition.x), rows: axisLabels(definition.y), grids: axisLabels(definition.z) };
		if (![...labels.columns, ...labels.rows, ...labels.grids].every(isDrawable)) {
			const message = 'Some labels hold characters beyond ASCII; on the picture they are drawn as boxes. The text inside the picture holds them in full.';
			reporter.problem(warningProblem('plot.labels', 'labels', message));
		}
		const pictures = new Map<string, Picture>();
		for (const key of new Set(cells.flatMap((cell) => [cell.key, cell.baseKey]))) {
			const kept = await readCell(place(key), size);
			if (kept) pictures.set(key, kept);
		}
		const missing = await missingCells(cells, (key) => pictures.has(key), true);
		const reused =
			new Set(cells.map(({ key }) => key)).size - cells.filter(({ key }, i) => missing.has(key) && cells.findIndex((c) => c.key === key) === i).length;
		const keys = [...missing.keys()];
		const byKey = new Map(cells.map((cell) => [cell.key, cell]));
		const writing: Promise<void>[] = [];
		const unsubscribe = client.subscribe((message: EventMessage) => {
			if (message.run !== RUN || message.event.type === 'ended') return;
			const { event } = message;
			if (event.type !== 'plotCell') return reporter.event(message);
			const key = keys[event.index] ?? '';
			pictures.set(key, event.picture);
			const cell = byKey.get(key) ?? { ...first, settings: missing.get(key) ?? first.settings, used: [] };
			writing.push(writeWhole(place(key), encodePng(event.picture, [['parameters', cellParameters(definition, cell)]])));
			writing.at(-1)?.catch(() => undefined); // met below
			if (command.json) reporter.event(message, `${key}.png`);
		});
		const release = context.onInterrupt(() => void client.request({ type: 'cancel', run: RUN }).catch(() => undefined));
		let stopped = false;
		try {
			if (missing.size > 0) {
				const outcome = await client.request({
					type: 'plot',
					run: RUN,
					request: { modelId: model.modelId, cells: [...missing.values()], loras: loaded.loras }
				});
				stopped = outcome.outcome === 'stopped';
			}
			await Promise.all(writing);
		} finally {
			unsubscribe();
			release();
			reporter.close();
		}
		const sheet = drawSheet(
			cells.map(({ key }) => pictures.get(key)),
			labels,
			size
		);
		if (!stopped) await writeWhole(command.out, encodePng(sheet, [['parameters', gridParameters(definition, first)]]));
		const { metrics, usable } = judge(definition, cells, pictures);
		if (command.json)
			streams.out(
				`${JSON.stringify({ type: 'plot', outcome: stopped ? 'stopped' : 'done', file: stopped ? null : command.out, cells: cells.length, drawn: writing.length, reused, usable, metrics })}\n`
			);
		else {
			streams.err(`${cells.length} cells, ${writing.length} drawn now, ${reused} from before, kept in ${folder}\n`);
			if (usable) streams.err(`Strengths of use: ${JSON.stringify(usable)}\n`);
			if (!stopped) streams.out(`${command.out}\n`);
			else streams.err('Stopped. The same command goes on from here.\n');
		}
		return stopped ? EXIT.failed : EXIT.done;
	});
}
