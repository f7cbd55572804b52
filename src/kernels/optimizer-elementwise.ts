/**
 * Commands of the optimizers whose update of a number depends on that number's own history alone, and for D-Adaptation and Prodigy on two sums over all factors:
 * shaders/optimizer.wesl, which has one condition per rule.
 */
import type { OptimizerSettings } from '../recipe/optimizers';
import { BLOCK, eightBit } from './factor-layout';
import { reads, writes } from './optimizer-commands';
import type { Bound, Commands, Range } from './optimizer-commands';
import { dynamicCodes } from './optimizer-codes';

type Factored = 'adafactor' | 'came';
export type ElementwiseSettings = Exclude<OptimizerSettings, { kind: Factored }>;

interface Rule {
	/** Conditions of shaders/optimizer.wesl. */
	readonly rule: Readonly<Record<string, boolean>>;
	/** Conditions of shaders/optimizer_begin.wesl. */
	readonly begin: Readonly<Record<string, boolean>>;
	/** State by binding from 3 on. */
	readonly state: readonly (string | undefined)[];
	/** Rests on an estimated distance: the shape of its update. */
	readonly distance?: 'prodigy' | 'dadapt';
}

function ruleOf(settings: ElementwiseSettings): Rule {
	switch (settings.kind) {
		case 'lion':
			return { rule: { lion: true, first: true }, begin: { plain: true }, state: ['m'] };
		case 'tiger':
			return { rule: { tiger: true, first: true }, begin: { plain: true }, state: ['m'] };
		case 'sgdNesterov':
			return { rule: { sgd: true, first: true }, begin: { plain: true }, state: ['m'] };
		case 'adamw':
		case 'adam':
			return { rule: { adam: true, coupled: settings.kind === 'adam', first: true, second: true }, begin: { adam: true }, state: ['m', 'v'] };
		case 'scheduleFreeAdamW':
			return { rule: { schedule_free: true, first: true, second: true }, begin: { schedule_free: true }, state: ['z', 'v'] };
		case 'prodigy':
			return {
				rule: { prodigy: true, first: true, second: true, safeguard: settings.safeguardWarmup },
				begin: { distance: true, bias: settings.biasCorrection },
				state: ['m', 'v', 's', 'start'],
				distance: 'prodigy'
			};
		case 'dAdaptAdam':
			return {
				rule: { dadapt_adam: true, first: true, second: true, coupled: !settings.decoupled },
				begin: { distance: true, bias: settings.biasCorrection },
				state: ['m', 'v', 's'],
				distance: 'dadapt'
			};
		case 'dAdaptLion':
			return { rule: { dadapt_lion: true }, begin: { distance: true }, state: ['m', undefined, 's'], distance: 'dadapt' };
	}
}

const LAST_SUM = 256;

export async function addElementwise(commands: Commands, settings: ElementwiseSettings): Promise<void> {
	const { rule, begin, state, distance } = ruleOf(settings);
	const stateOf = (range: Range): (Bound | undefined)[] =>
		state.map((name) => (name === undefined ? undefined : writes(commands.factors.stateBuffer(name), range)));
	await commands.add({ shader: 'optimizer_begin', conditions: begin }, [], { quads: 0, first: 0, count: 0 }, [1, 1, 1]);
	if (eightBit(settings)) return addBlocks(commands, rule, state);
	if (!distance) {
		for (const range of commands.ranges) {
			const extent = { quads: range.size / 16, first: 0, count: 0, rateFactor: range.rateFactor };
			await commands.add(
				{ shader: 'optimizer', conditions: rule },
				[reads(commands.gradients, range), writes(commands.values, range), ...stateOf(range)],
				extent,
				commands.groupsFor(extent.quads)
			);
		}
		return;
	}
	const groups = commands.ranges.map((range) => commands.groupsFor(range.size / 16));
	const counts = groups.map(([x, y]) => x * y);
	const count = counts.reduce((a, b) => a + b, 0);
	const partials = await commands.scratch('partial sums', count * 8);
	const each = async (conditions: Record<string, boolean>, bound: (range: Range) => (Bound | undefined)[]): Promise<void> => {
		let first = 0;
		for (const [i, range] of commands.ranges.entries()) {
			await commands.add(
				{ shader: 'optimizer', conditions: { ...rule, ...conditions } },
				bound(range),
				{ quads: range.size / 16, first, count },
				groups[i] ?? [1, 1, 1]
			);
			first += counts[i] ?? 0;
		}
	};
	await each({ sums: true }, (range) => {
		const bound = [reads(commands.gradients, range), writes(commands.values, range), ...stateOf(range)];
		while (bound.length < 6) bound.push(undefined);
		return [...bound, writes(partials)];
	});
	await commands.add(
		{ shader: 'optimizer_distance', conditions: { [distance]: true }, constants: { WORKGROUP: LAST_SUM } },
		[writes(partials)],
		{ quads: 0, first: 0, count },
		[1, 1, 1]
	);
	if (!rule['dadapt_lion']) await each({ apply: true }, (range) => [undefined, writes(commands.values, range), ...stateOf(range).slice(0, 2)]);
}

async function addBlocks(commands: Commands, rule: Rule['rule'], state: Rule['state']): Promise<void> {
	const table = new Float32Array(2 * BLOCK);
	table.set(dynamicCodes(true));
	table.set(dynamicCodes(false), BLOCK);
	const codes = await commands.scratch('8-bit values', table.byteLength, table);
	for (const range of commands.ranges) {
		const quarter: Range = { ...range, offset: range.offset / 4, size: range.size / 4 };
		const means = state.flatMap((name) =>
			name === undefined ? [] : [writes(commands.factors.stateBuffer(name), quarter), writes(commands.factors.stateBuffer(`${name} scales`))]
		);
		const bound: (Bound | undefined)[] = [reads(commands.gradients, range), writes(commands.values, range), ...means];
		while (bound.length < 6) bound.push(undefined);
		const extent = { quads: range.size / 16, first: range.offset / (4 * BLOCK), count: 0, rateFactor: range.rateFactor };
		await commands.add({ shader: 'optimizer', conditions: { ...rule, blocks: true } }, [...bound, reads(codes)], extent, commands.groupsFor(extent.quads));
	}
}
