/**
 * What each optimizer remembers between steps, as named buffers. `FactorStore` allocates, reads and writes them all; a snapshot of values and state is therefore complete, and
 * a run that goes on from it makes the same bits.
 */
import { STATUS_BYTES } from './optimizer-params';
import type { OptimizerSettings } from '../recipe/optimizers';
import { BLOCK, eightBit, layoutFactors } from './factor-layout';
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

/** GPU bytes of a network's factors before anything is allocated: the values themselves, and what training them takes beside (gradients and state). */
export function factorMemory(entries: readonly FactorEntry[], optimizer: OptimizerSettings | undefined): { values: number; training: number } {
	const layout = layoutFactors(entries, optimizer);
	const values = layout.elements * 4;
	return { values, training: optimizer ? values + stateBuffers(optimizer, layout).reduce((sum, { bytes }) => sum + bytes, 0) : 0 };
}
