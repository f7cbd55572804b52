/**
 * What the helper costs as a process: the time from its start to the first step of the mini model by phases, and how soon it answers while it encodes, compiles and trains.
 *
 *   npm run build:cli && npx vite build --ssr bench/helper.ts --outDir dist/bench && node dist/bench/helper.js [--root FOLDER] [--times N] [--quick]
 *
 * `--root`: the package whose built command line is started (this one); `--quick`: one late block only, which software adapters compile and train soon. Prints one line of JSON a start. A ping is a request that only the house of runs answers
 * (`listRuns`), sent every 5 ms, from the moment the training is accepted to its second step; its latency is that of the socket and of nothing else.
 *
 * `--ratio [--model FILE] [--steps N] [--times N]`: instead, a step on the helper beside the engine's own (`helper/ratio.ts`), of the bundled model or of a checkpoint.
 */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { defaultRecipe } from '../src/recipe/defaults';
import type { EventMessage } from '../src/service/protocol';
import { samplePicture, startBuilt, type Built } from './helper/built';
import { compareSteps } from './helper/ratio';

const STEPS = 2;

const { values } = parseArgs({
	options: {
		root: { type: 'string' },
		times: { type: 'string' },
		quick: { type: 'boolean' },
		ratio: { type: 'boolean' },
		model: { type: 'string' },
		steps: { type: 'string' }
	}
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

if (values.ratio) await compareSteps(root, values.model, Number(values.times ?? 2), Number(values.steps ?? 40));
else for (let round = 0; round < Number(values.times ?? 1); round++) await once();
process.exit(0);
