/** A small training in a page's own worker, with its snapshots in the private file system; `resume.test.ts` ends page or worker in the middle and goes on. */
import { defaultRecipe } from '../../../src/recipe/defaults';
import type { Recipe } from '../../../src/recipe/recipe';
import { createWorkerClient } from '../../../src/service/client';
import type { EventMessage, Picture, TrainRequest } from '../../../src/service/protocol';

const SIDE = 64;
const JOB = 'kill-test';

/** Workers that were made, so that one can be ended as a crash would. */
const workers: Worker[] = [];
const PlainWorker = globalThis.Worker;
globalThis.Worker = class extends PlainWorker {
	constructor(...given: ConstructorParameters<typeof PlainWorker>) {
		super(...given);
		workers.push(this);
	}
};

function picture(seed: number): Picture {
	const data = Uint8ClampedArray.from({ length: SIDE * SIDE * 4 }, (_, i) => (i % 4 === 3 ? 255 : 128 + 100 * Math.sin(seed * i * 0.01)));
	return { width: SIDE, height: SIDE, data };
}

function recipe(): Recipe {
	const made = defaultRecipe('mini');
	for (const pass of [made.passes.copier, made.passes.difference])
		Object.assign(pass, { rank: 4, alpha: 4, iterations: 4, batch: 1, blocks: ['OUT11'], learningRate: 2e-3 });
	made.saving = { ...made.saving, snapshotEvery: 1, everySteps: 0, keepCopier: false };
	made.preview = { ...made.preview, seeds: [5], strengths: [1], steps: 1, cfg: 1, every: 0 };
	made.probe.every = 0;
	return made;
}

/** The numbers of a file without its metadata, which holds times. */
async function digest(file: ArrayBuffer): Promise<string> {
	const header = Number(new DataView(file).getBigUint64(0, true));
	const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', file.slice(8 + header)));
	return Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** One trainer a page, also after its GPU was lost. */
let opened: ReturnType<typeof createWorkerClient> | undefined;
let listening = false;

const steps = {
	/** `pass step` of every snapshot so far. */
	snapshots: [] as string[],
	resumedAt: null as string | null,
	problem: null as string | null,
	/** Codes of what was said about snapshots that could not be kept for want of room. */
	told: [] as string[],
	/** The result's digest, once it is there. */
	result: null as string | null,

	async train(resume: boolean): Promise<void> {
		steps.problem = null;
		const client = (opened ??= createWorkerClient());
		const { modelId } = await client.request({
			type: 'openModel',
			source: { kind: 'bundled', id: 'mini', url: new URL('/models/mini.safetensors', location.href).href }
		});
		const request: TrainRequest = { recipe: recipe(), modelId, original: picture(1), target: picture(2) };
		if (!listening)
			client.subscribe(({ event }: EventMessage) => {
				if (event.type === 'snapshot') steps.snapshots.push(`${event.pass} ${event.step}`);
				if (event.type === 'resumed') steps.resumedAt = `${event.pass} ${event.step}`;
				if (event.type === 'warning' && event.problem.code === 'snapshot.full') steps.told.push(event.problem.code);
				else if (event.type === 'warning' && /^(resume|snapshot)\./.test(event.problem.code)) steps.problem = event.problem.message;
				if (event.type === 'file' && event.role === 'result') void digest(event.bytes).then((found) => (steps.result = found));
				if (event.type === 'ended' && event.problem) steps.problem = event.problem.message;
			});
		listening = true;
		await client.request({ type: 'train', run: resume ? 'again' : 'run', request, keep: { job: JOB, resume } });
	},

	/** Starts the trainer's worker without asking anything of a GPU: an empty file is refused. */
	async start(): Promise<void> {
		opened ??= createWorkerClient();
		await opened.request({ type: 'inspect', name: 'nothing', blob: new Blob([]) }).catch(() => undefined);
	},

	/** Ends all workers at once, whatever they are doing. */
	killWorkers(): void {
		for (const worker of workers.splice(0)) worker.terminate();
	}
};

declare global {
	var resumeSteps: typeof steps | undefined;
}
globalThis.resumeSteps = steps;
