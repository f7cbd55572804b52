/**
 * A run that was interrupted and taken up again ends with the same bits as one that was not, wherever it was interrupted: every snapshot of an
 * uninterrupted run is what a kill at that moment leaves behind, so runs are taken up from some of them, in both passes.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Gpu } from '../../../src/gpu/gpu';
import type { RunEvent } from '../../../src/jobs/events';
import { openRunMemory } from '../../../src/jobs/resume';
import type { WeightStore } from '../../../src/kernels/weights';
import { defaultRecipe } from '../../../src/recipe/defaults';
import type { Recipe } from '../../../src/recipe/recipe';
import { defaultOptimizer } from '../../../src/recipe/optimizers';
import { memorySlots, snapshotStore } from '../../../src/storage/snapshots/snapshots';
import type { Slots } from '../../../src/storage/snapshots/snapshots';
import { trainDifference } from '../../../src/training/difference';
import { TrainingControl } from '../../../src/training/events';
import { openTestGpu, randomFloats } from '../harness';
import { NANO, nanoLatents, nanoWeights } from '../nano';

const STEPS = 8;
const JOB = 'job';

let gpu: Gpu;
let weights: WeightStore;
const latents = nanoLatents(8);
const context = randomFloats(77 * NANO.unet.contextDim, 78);

beforeAll(async () => {
	gpu = await openTestGpu();
	weights = await nanoWeights(gpu, 'f16');
});
afterAll(() => weights.destroy());

function recipe(optimizer: 'lion' | 'adamw' | 'prodigy'): Recipe {
	const made = defaultRecipe('mini');
	for (const pass of [made.passes.copier, made.passes.difference]) {
		Object.assign(pass, { rank: 4, alpha: 4, iterations: STEPS, batch: 1, blocks: ['OUT02', 'OUT03'], learningRate: 2e-3, seed: -1 });
		pass.optimizer = defaultOptimizer(optimizer);
	}
	made.saving = { ...made.saving, everySteps: 3, snapshotEvery: 1, keepCopier: false };
	made.probe.every = 4;
	made.preview.every = 0;
	return made;
}

/** Files that stay as they were at any moment. */
class Disk {
	readonly files = new Map<string, Uint8Array>();
	readonly slots: Slots = {
		...memorySlots(),
		list: () => Promise.resolve([...this.files.keys()]),
		read: (key) => Promise.resolve(this.files.get(key)),
		write: (key, parts) => {
			this.files.set(key, Uint8Array.from(Buffer.concat(parts)));
			return Promise.resolve();
		}
	};

	constructor(files: Iterable<[string, Uint8Array]> = []) {
		for (const [key, bytes] of files) this.files.set(key, bytes);
	}
}

interface Outcome {
	network: unknown;
	losses: Record<string, number>;
	probes: string[];
	averages: Record<string, number>;
	files: string[];
	/** The disk after each snapshot, with the place it was taken. */
	disks: { at: string; disk: Disk }[];
	resumed: Extract<RunEvent, { type: 'resumed' }> | undefined;
}

async function train(
	made: Recipe,
	disk: Disk,
	resume: boolean,
	onEvent: (event: RunEvent, control: TrainingControl) => void = () => undefined,
	/** Codes of warnings; without it none may come. */
	warnings?: string[]
): Promise<Outcome> {
	const control = new TrainingControl();
	const result: Outcome = { network: undefined, losses: {}, probes: [], averages: {}, files: [], disks: [], resumed: undefined };
	const emit = (event: RunEvent): void => {
		if (event.type === 'progress') {
			result.losses[`${event.pass} ${event.step}`] = event.loss;
			result.averages[`${event.pass} ${event.step}`] = event.lossAverage;
		}
		if (event.type === 'probe') result.probes.push(`${event.pass} ${event.step} ${event.base} ${event.now} ${event.verdict}`);
		if (event.type === 'file') result.files.push(event.name);
		if (event.type === 'snapshot') result.disks.push({ at: `${event.pass} ${event.step}`, disk: new Disk(disk.files) });
		if (event.type === 'resumed') result.resumed = event;
		if (event.type === 'warning' && !warnings) throw new Error(event.problem.message);
		if (event.type === 'warning') warnings?.push(event.problem.code);
		onEvent(event, control);
	};
	const memory = await openRunMemory(
		{ store: snapshotStore(disk.slots), job: JOB, resume },
		{ identity: 'same', device: 'd', version: 'v', recipe: made, emit }
	);
	const { network } = await trainDifference({
		gpu,
		weights,
		config: NANO,
		recipe: made,
		latents,
		conditioning: { context },
		control,
		emit,
		version: 'test',
		// Packing takes next to nothing here; without this the 2 % rule would leave out most of them.
		memory: { ...memory, save: (state) => memory.save(state).then(() => 0) }
	});
	result.network = network;
	return result;
}

describe.each(['adamw', 'prodigy'] as const)('with %s', (optimizer) => {
	it('a run taken up from any snapshot ends with the same bits', async () => {
		const made = recipe(optimizer);
		const whole = await train(made, new Disk(), false);
		expect(whole.network).toBeDefined();
		const places = whole.disks.map(({ at }) => at);
		// Steps pass while one is packed, more of them on a quicker machine.
		expect(places.length).toBeGreaterThanOrEqual(4);
		const inCopier = whole.disks.filter(({ at }) => at.startsWith('copier'));
		const inDifference = whole.disks.filter(({ at }) => at.startsWith('difference') && at !== 'difference 0');
		const between = whole.disks.filter(({ at }) => at === 'difference 0');
		expect(between.length).toBe(1);
		const any = <T>(list: readonly T[]): T | undefined => list[Math.floor(Math.random() * list.length)];
		// All three places with one optimizer; the others add only their own state.
		const some = optimizer === 'adamw' ? [any(inCopier), between[0], any(inDifference)] : [any([...inCopier, ...inDifference])];
		for (const chosen of some) {
			if (!chosen) throw new Error(`no snapshot among ${places.join(', ')}`);
			const again = await train(made, new Disk(chosen.disk.files), true);
			expect(again.network, chosen.at).toEqual(whole.network);
			const [pass = '', step = ''] = chosen.at.split(' ');
			expect(again.resumed).toMatchObject({ pass, step: Number(step) });
			// Exactly the steps behind the snapshot are reported, with the same losses and averages.
			const position = (place: string): number => (place.startsWith('copier') ? 0 : 1000) + Number(place.split(' ')[1]);
			const behind = Object.entries(whole.losses).filter(([place]) => position(place) > position(chosen.at));
			expect(again.losses, chosen.at).toEqual(Object.fromEntries(behind));
			for (const [place, average] of Object.entries(again.averages)) expect(average, place).toBe(whole.averages[place]);
			expect(whole.probes.slice(whole.probes.length - again.probes.length)).toEqual(again.probes);
			expect(whole.files.slice(whole.files.length - again.files.length)).toEqual(again.files);
			expect(again.resumed?.curves[pass === 'copier' ? 'copier' : 'difference']?.losses.length ?? 0).toBe(Number(step));
		}
	}, 300_000);
});

it('a pause leaves a snapshot of the very step, and a second one goes on from the first', async () => {
	const made = recipe('adamw');
	made.saving.snapshotEvery = 0;
	made.passes.copier.seed = 3;
	made.passes.difference.seed = 4;
	const whole = await train(made, new Disk(), false);
	expect(whole.disks.map(({ at }) => at)).toEqual(['difference 0']);
	const disk = new Disk();
	const pauseIn = (pass: string) => (event: RunEvent, control: TrainingControl) => {
		if (event.type === 'progress' && event.pass === pass && event.step >= 2) control.pause();
	};
	const first = await train(made, disk, false, pauseIn('copier'));
	expect(first.network).toBeUndefined();
	const second = await train(made, disk, true, pauseIn('difference'));
	expect(second.resumed).toMatchObject({ pass: 'copier' });
	expect(second.network).toBeUndefined();
	const third = await train(made, disk, true);
	expect(third.resumed).toMatchObject({ pass: 'difference' });
	expect(third.network).toEqual(whole.network);
	expect({ ...first.losses, ...second.losses, ...third.losses }).toEqual(whole.losses);
}, 300_000);

it('a run that the guard sent back is taken up from before and after that with the same bits', async () => {
	const made = recipe('adamw');
	Object.assign(made.passes.copier, { rank: 8, alpha: 8, iterations: 12, learningRate: 0.2, seed: 11, timesteps: { min: 300, max: 320 } });
	made.passes.copier.schedule = { ...made.passes.copier.schedule, kind: 'constant', warmup: 0 };
	made.copier.only = true;
	made.guard = { action: 'rollback', rollbacks: 8 };
	made.probe.every = 0;
	/** Snapshots in the order of time, and how many times the guard had gone back by then. */
	const gone: number[] = [];
	const guards: string[] = [];
	const note = (into: string[]) => (event: RunEvent) => {
		if (event.type === 'guard') into.push(`${event.step} → ${event.to} × ${event.factor}`);
		if (event.type === 'snapshot') gone.push(into.length);
	};
	const files: Uint8Array[] = [];
	const whole = await train(made, new Disk(), false, (event) => {
		note(guards)(event);
		if (event.type === 'file') files.push(new Uint8Array(event.bytes));
	});
	expect(guards.length).toBeGreaterThan(0);
	const order = [...gone];
	const before = whole.disks[order.findIndex((count) => count === 0)];
	const after = whole.disks[order.findIndex((count) => count > 0)];
	for (const chosen of [before, after]) {
		if (!chosen) throw new Error(`no snapshot on both sides: ${order.join(', ')}`);
		const again: Uint8Array[] = [];
		const rest: string[] = [];
		await train(made, new Disk(chosen.disk.files), true, (event) => {
			note(rest)(event);
			if (event.type === 'file') again.push(new Uint8Array(event.bytes));
		});
		expect(guards.slice(guards.length - rest.length)).toEqual(rest);
		expect(tensorsOf(again[0])).toEqual(tensorsOf(files[0]));
	}
}, 300_000);

/** What stands behind the header, which names the time. */
function tensorsOf(file: Uint8Array | undefined): Uint8Array {
	if (!file) throw new Error('there is no file');
	return file.subarray(8 + Number(new DataView(file.buffer, file.byteOffset, 8).getBigUint64(0, true)));
}

it('a disk that fills up during training costs no more than its last snapshots: the run ends the same, and what was kept is whole', async () => {
	const made = recipe('lion');
	Object.assign(made.passes.copier, { seed: 3 });
	made.copier.only = true;
	const whole = await train(made, new Disk(), false);
	const full = new Disk();
	const { write } = full.slots;
	// A quick machine takes only a few snapshots.
	let left = 1;
	Object.assign(full.slots, {
		write: (key: string, parts: readonly Uint8Array[]) =>
			left-- > 0 ? write(key, parts) : Promise.reject(Object.assign(new Error('no space left on device'), { code: 'ENOSPC' }))
	});
	const warnings: string[] = [];
	const ended = await train(made, full, false, () => undefined, warnings);
	expect(warnings).toEqual(['snapshot.full']);
	expect(ended.losses).toEqual(whole.losses);
	expect(ended.files).toEqual(whole.files);
	expect(ended.disks.length).toBe(1);
	// Space is there again: the run goes on from what was kept.
	const again = await train(made, new Disk(full.files), true);
	expect(again.resumed).toMatchObject({ pass: 'copier', step: Number(ended.disks.at(-1)?.at.split(' ')[1]) });
	expect(Object.values(again.losses).at(-1)).toBe(Object.values(whole.losses).at(-1));
}, 300_000);
