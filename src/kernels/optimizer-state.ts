/**
 * What each optimizer remembers between steps, as named buffers. `FactorStore` allocates, reads and writes them all; a snapshot of values and state is therefore complete, and
 * a run that goes on from it makes the same bits.
 */
import { STATUS_BYTES } from './optimizer-params';
import type { OptimizerSettings } from '../recipe/optimizers';
import { BLOCK, eightBit, layoutFactors } from './factor-layout';
import { factoredBytes } from './factored-tables';
import type { FactorEntry, FactorLayout } from './factor-layout';

export interface StateBuffer {
	readonly name: string;
	readonly bytes: number;
}

/** Running means of rows and columns: one number for each. */
export function lineCount(layout: FactorLayout): number {
	return layout.places.reduce((sum, { rows, columns }) => sum + rows + columns, 0);
}

/** In the order the kernels bind them, after `status`, which all have: step count, skipped steps, estimated distance and the like. */
export function stateBuffers(settings: OptimizerSettings, layout: FactorLayout): StateBuffer[] {
	const status = { name: 'status', bytes: STATUS_BYTES };
	const whole = (...names: string[]): StateBuffer[] => names.map((name) => ({ name, bytes: layout.elements * 4 }));
	const coded = (...names: string[]): StateBuffer[] =>
		names.flatMap((name) => [
			{ name, bytes: layout.elements },
			{ name: `${name} scales`, bytes: (layout.elements / BLOCK) * 4 }
		]);
	const means = eightBit(settings) ? coded : whole;
	const lines = { name: 'lines', bytes: lineCount(layout) * 4 };
	switch (settings.kind) {
		case 'lion':
		case 'sgdNesterov':
			return [status, ...means('m')];
		case 'adamw':
		case 'adam':
			return [status, ...means('m', 'v')];
		case 'tiger':
			return [status, ...whole('m')];
		case 'adafactor':
			return [status, lines, ...(settings.beta1 > 0 ? whole('m') : [])];
		case 'came':
			return [status, { ...lines, bytes: 2 * lines.bytes }, ...whole('m')];
		case 'prodigy':
			return [status, ...whole('m', 'v', 's', 'start')];
		case 'dAdaptAdam':
			return [status, ...whole('m', 'v', 's')];
		case 'dAdaptLion':
			return [status, ...whole('m', 's')];
		case 'scheduleFreeAdamW':
			return [status, ...whole('z', 'v')];
	}
}

/** What a step needs beside, without the few kilobytes of its parameters: tables and partial sums. */
function scratchBytes(settings: OptimizerSettings, layout: FactorLayout): number {
	if (settings.kind === 'adafactor' || settings.kind === 'came') return factoredBytes(layout);
	// A pair of sums for every 64 quads.
	if (settings.kind === 'prodigy' || settings.kind === 'dAdaptAdam' || settings.kind === 'dAdaptLion') return Math.ceil(layout.elements / 256) * 8;
	return eightBit(settings) ? 2 * BLOCK * 4 : 0;
}

/** GPU bytes of a network's factors before anything is allocated: the values themselves, gradients and state beside them when they are trained, and what a step needs beside those. */
export function factorMemory(entries: readonly FactorEntry[], optimizer: OptimizerSettings | undefined): { values: number; training: number; scratch: number } {
	const layout = layoutFactors(entries, optimizer);
	const values = layout.elements * 4;
	if (!optimizer) return { values, training: 0, scratch: 0 };
	const state = stateBuffers(optimizer, layout).reduce((sum, { bytes }) => sum + bytes, 0);
	return { values, training: values + state, scratch: scratchBytes(optimizer, layout) };
}
