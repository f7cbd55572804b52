/**
 * What the helper costs as a process: the time from its start to the first step of the mini model by phases, and how soon it answers while it encodes, compiles and trains.
 *
 *   npm run build:cli && npx vite build --ssr bench/helper.ts --outDir dist/bench && node dist/bench/helper.js [--root FOLDER] [--times N] [--quick]
 *
 * `--root`: the package whose built command line is started (this one); `--quick`: one late block only, which software adapters compile and train soon. Prints one line of JSON a start. A ping is a request that only the house of runs answers
 * (`listRuns`), sent every 5 ms, from the moment the training is accepted to its second step; its latency is that of the socket and of nothing else.
 *
 * `--ratio [--steps N] [--times N]`: instead, the processor time of a step on the helper (whole process: socket, log, thread) beside that of the engine called directly in this process,
 * by turns. Processor time, because on a software adapter that is the step, and because other work on the computer does not stretch it.
 */
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { defaultRecipe } from '../src/recipe/defaults';
import { nodePlatform } from '../src/helper/platform';
import { openFileAsBlob } from '../src/formats/node';
import { tellCores } from '../src/onnx/session';
import { createHost } from '../src/service/host';
import { createInProcessClient } from '../src/service/inProcess';
import type { EventMessage, TrainerClient } from '../src/service/protocol';
import { samplePicture, startBuilt, type Built } from './helper/built';
import { trainLittle } from './helper/little';

const STEPS = 2;

const { values } = parseArgs({
	options: { root: { type: 'string' }, times: { type: 'string' }, quick: { type: 'boolean' }, ratio: { type: 'boolean' }, steps: { type: 'string' } }
});
const root = resolve(values.root ?? resolve(import.meta.dirname, '../..'));

/** Answers in milliseconds, until `over`. */
async function pings({ client }: Built, over: Promise<unknown>): Promise<number[]> {
	const times: number[] = [];
	let going = true;
	void over.then(() => (going = false));
	const waiting: Promise<unknown>[] = [];
	while (going) {
		const sent = performance.now();
		const answer = client.request({ type: 'listRuns' }).then(() => times.push(performance.now() - sent));
		waiting.push(answer);
		// One at a time: a helper that does not answer is asked once.
		await answer;
		await new Promise((later) => setTimeout(later, 5));
	}
	await Promise.all(waiting);
	return times.sort((a, b) => a - b);
}

/** Seconds each kind of work took, as the run's own events say: from its first event to the first of another kind. */
function phases(events: readonly EventMessage[]): Record<string, number> {
	const found: Record<string, number> = {};
	let name = '';
	let begun = 0;
	for (const { event, time } of events) {
		if (event.type !== 'state' && event.type !== 'progress') continue;
		const now = event.type === 'progress' ? `step ${event.step}` : [event.state, event.pass, event.detail].filter(Boolean).join(' ');
		if (now === name) continue;
		if (name !== '') found[name] = (found[name] ?? 0) + (time - begun) / 1e3;
		[name, begun] = [now, time];
	}
	return found;
}

async function once(): Promise<void> {
	const built = await startBuilt(root);
	const { client, started, listening } = built;
	const since = (time: number): number => Math.round(time - started) / 1e3;
	try {
		const { modelId } = await client.request({ type: 'openModel', source: { kind: 'bundled', id: 'mini', url: '' } });
		const opened = Date.now();
		const events: EventMessage[] = [];
		let first = 0;
		const enough = new Promise<void>((done) =>
			client.subscribe((message) => {
				events.push(message);
				if (message.event.type === 'progress' && first === 0) first = message.time;
				if (message.event.type === 'ended' || (message.event.type === 'progress' && message.event.step >= STEPS)) done();
			})
		);
		const recipe = defaultRecipe('mini');
		for (const pass of Object.values(recipe.passes))
			Object.assign(pass, { batch: 1, iterations: STEPS + 1, ...(values.quick ? { blocks: ['OUT11'], rank: 4 } : {}) });
		recipe.probe.every = 0;
		recipe.preview.every = 0;
		const [original, target] = [await samplePicture(root, 'closed'), await samplePicture(root, 'a')];
		await client.request({ type: 'train', run: 'r', request: { modelId, recipe, original, target } });
		const accepted = Date.now();
		const times = await pings(built, enough);
		const at = (fraction: number): number => Math.round((times[Math.min(times.length - 1, Math.floor(times.length * fraction))] ?? 0) * 10) / 10;
		const seconds = { listening: since(listening), opened: since(opened), accepted: since(accepted), firstStep: since(first) };
		console.log(JSON.stringify({ seconds, phases: phases(events), pings: { count: times.length, median: at(0.5), p99: at(0.99), worst: at(1) } }));
		await client.request({ type: 'stop', run: 'r', save: false });
	} finally {
		await built.close();
	}
}

/** Processor seconds of a process so far, all threads. */
async function processorSeconds(pid: number): Promise<number> {
	const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
	return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Processor milliseconds a step, from the fifth to the last. */
async function stepCost(client: TrainerClient, pid: number, run: string, modelId: string, steps: number): Promise<{ milliseconds: number; bits: string }> {
	let from: Promise<number> | undefined;
	let to: Promise<number> | undefined;
	const bits = await trainLittle(client, run, modelId, steps, ({ event }) => {
		if (event.type !== 'progress') return;
		if (event.step === 5) from = processorSeconds(pid);
		if (event.step === steps) to = processorSeconds(pid);
	});
	const milliseconds = ((((await to) ?? 0) - ((await from) ?? 0)) / (steps - 5)) * 1e3;
	return { milliseconds, bits };
}

/** The engine's own step and the helper's, by turns. */
async function ratio(times: number, steps: number): Promise<void> {
	// As the helper does: the number of threads is in the last bits of what ONNX Runtime encodes.
	tellCores(availableParallelism());
	const built = await startBuilt(root);
	const direct = createInProcessClient(createHost({ ...nodePlatform(), fetchBundled: () => openFileAsBlob(resolve(root, 'public/models/mini.safetensors')) }));
	const open = { type: 'openModel', source: { kind: 'bundled', id: 'mini', url: '' } } as const;
	const ids = [(await direct.request(open)).modelId, (await built.client.request(open)).modelId] as const;
	const own: number[] = [];
	const there: number[] = [];
	try {
		for (let round = 0; round < times; round++) {
			const a = await stepCost(direct, process.pid, `own-${round}`, ids[0], steps);
			const b = await stepCost(built.client, built.child.pid ?? 0, `there-${round}`, ids[1], steps);
			own.push(a.milliseconds);
			there.push(b.milliseconds);
			console.log(JSON.stringify({ round, engine: a.milliseconds, helper: b.milliseconds, sameBits: a.bits === b.bits }));
		}
		const sum = (list: readonly number[]): number => list.reduce((total, value) => total + value, 0);
		console.log(JSON.stringify({ steps, times, ratio: sum(there) / sum(own) }));
	} finally {
		await built.close();
	}
}

if (values.ratio) await ratio(Number(values.times ?? 3), Number(values.steps ?? 40));
else for (let round = 0; round < Number(values.times ?? 1); round++) await once();
process.exit(0);
