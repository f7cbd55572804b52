/**
 * A step on the helper (socket, log, thread) beside the engine's own, called directly in this process, by turns.
 * On a card: seconds by the clock, with the queue full on both sides. On a software adapter the processor's time of the whole process, because
 * there that is the step, and because other work on the computer does not stretch it.
 */
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { basename, dirname, resolve } from 'node:path';
import { openFileAsBlob } from '../../src/formats/node';
import { nodePlatform } from '../../src/helper/platform';
import { tellCores } from '../../src/onnx/session';
import { createHost } from '../../src/service/host';
import { createInProcessClient } from '../../src/service/inProcess';
import { PROTOCOL_VERSION, type ModelInfo, type TrainerClient } from '../../src/service/protocol';
import { startBuilt } from './built';
import { trainLittle, type Size } from './little';

const WARM = 20;

/** Processor seconds of a process so far, all threads; 0 where the system does not tell. */
async function processorSeconds(pid: number): Promise<number> {
	const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
	const fields = text.split(') ')[1]?.split(' ') ?? [];
	return (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / 100;
}

interface Cost {
	/** By the clock, a step. */
	milliseconds: number;
	/** Of the processor, a step. */
	processorMilliseconds: number;
	bits: string;
}

interface Side {
	client: TrainerClient;
	pid: number;
	model: ModelInfo;
}

/** Milliseconds a step: the slope of a straight line through when each reading of losses had its last step. */
function slope(readings: readonly { step: number; time: number }[]): number {
	const ends = readings.filter(({ time }, i) => time !== readings[i + 1]?.time);
	const mean = (of: (reading: { step: number; time: number }) => number): number => ends.reduce((sum, reading) => sum + of(reading), 0) / ends.length;
	const [step, time] = [mean((reading) => reading.step), mean((reading) => reading.time)];
	return mean((reading) => (reading.step - step) * (reading.time - time)) / mean((reading) => (reading.step - step) ** 2);
}

/** Of the steps behind the first `WARM`, which is time for a card to raise its clock. */
async function stepCost({ client, pid, model }: Side, run: string, size: Size, steps: number): Promise<Cost> {
	const readings: { step: number; time: number }[] = [];
	let from: Promise<number> | undefined;
	let to: Promise<number> | undefined;
	const bits = await trainLittle(client, run, model, { ...size, steps: WARM + steps }, ({ event, time }) => {
		if (event.type !== 'progress') return;
		if (event.step === WARM) from = processorSeconds(pid);
		if (event.step === WARM + steps) to = processorSeconds(pid);
		if (event.step >= WARM) readings.push({ step: event.step, time });
	});
	const [begun = 0, ended = 0] = await Promise.all([from, to]);
	return { milliseconds: slope(readings), processorMilliseconds: ((ended - begun) / steps) * 1e3, bits };
}

/** @param file a checkpoint of another model than the bundled one @param steps of each run that are measured */
export async function compareSteps(root: string, file: string | undefined, times: number, steps: number): Promise<void> {
	// As the helper does: the number of threads is in the last bits of what ONNX Runtime encodes.
	tellCores(availableParallelism());
	const built = await startBuilt(root, file === undefined ? undefined : dirname(resolve(file)));
	const direct = createInProcessClient(createHost({ ...nodePlatform(), fetchBundled: () => openFileAsBlob(resolve(root, 'public/models/mini.safetensors')) }));
	const bundled = { kind: 'bundled', id: 'mini', url: '' } as const;
	try {
		const { adapter } = await direct.request({ type: 'hello', version: PROTOCOL_VERSION });
		let [own, there]: ModelInfo[] = [];
		if (file === undefined)
			[own, there] = [await direct.request({ type: 'openModel', source: bundled }), await built.client.request({ type: 'openModel', source: bundled })];
		else {
			const name = basename(file).replace(/\.[^.]+$/, '');
			const entry = (await built.client.request({ type: 'listModels' })).entries.find((known) => known.name === name);
			if (!entry) throw new Error(`The helper does not list ${name}.`);
			own = await direct.request({ type: 'openModel', source: { kind: 'file', name, blob: await openFileAsBlob(file) } });
			there = await built.client.request({ type: 'openModel', source: { kind: 'named', id: entry.id } });
		}
		const software = adapter?.isFallback !== false || /llvmpipe|lavapipe|swiftshader/i.test(adapter.description);
		// The least a software adapter can train; all of it on a card.
		const size: Size = software ? {} : { side: own.resolution, all: true };
		const sides: [Side, Side] = [
			{ client: direct, pid: process.pid, model: own },
			{ client: built.client, pid: built.child.pid ?? 0, model: there }
		];
		const sums = [0, 0];
		for (let round = 0; round < times; round++) {
			const costs: Cost[] = [];
			for (const [i, side] of sides.entries()) {
				const cost = await stepCost(side, `round-${round}`, size, steps);
				costs.push(cost);
				sums[i] = (sums[i] ?? 0) + (software ? cost.processorMilliseconds : cost.milliseconds);
			}
			console.log(JSON.stringify({ round, engine: costs[0], helper: costs[1], sameBits: costs[0]?.bits === costs[1]?.bits }));
		}
		const [engine = 0, helper = 0] = sums;
		const by = software ? 'processor' : 'clock';
		console.log(JSON.stringify({ adapter: adapter?.description, model: own.name, size: size.side ?? 64, steps, times, by, ratio: helper / engine }));
	} finally {
		await built.close();
	}
}
