/** The least training that is one: 64² pictures, one late block, a few steps of each pass. What stands around the steps is what these benches are about. */
import { createHash } from 'node:crypto';
import { defaultRecipe } from '../../src/recipe/defaults';
import type { Recipe } from '../../src/recipe/recipe';
import type { EventMessage, Picture, TrainerClient } from '../../src/service/protocol';

const SIDE = 64;

function wave(seed: number): Picture {
	const data = Uint8ClampedArray.from({ length: SIDE * SIDE * 4 }, (_, i) => (i % 4 === 3 ? 255 : 128 + 100 * Math.sin(seed * i * 0.01)));
	return { width: SIDE, height: SIDE, data };
}

export function littleRecipe(steps: number): Recipe {
	const recipe = defaultRecipe('mini', 'addift');
	Object.assign(recipe.passes.difference, { rank: 4, alpha: 4, iterations: steps, batch: 1, blocks: ['OUT11'], seed: 7 });
	recipe.saving = { ...recipe.saving, everySteps: 0, snapshotEvery: 0 };
	recipe.preview = { ...recipe.preview, seeds: [5], strengths: [1], steps: 1, cfg: 1, every: 0 };
	recipe.probe.every = 0;
	return recipe;
}

/** The numbers of a file without its metadata, which holds times. */
export function digest(bytes: ArrayBuffer): string {
	const header = Number(new DataView(bytes).getBigUint64(0, true));
	return createHash('sha256')
		.update(new Uint8Array(bytes, 8 + header))
		.digest('hex')
		.slice(0, 16);
}

/** Trains to the end; `heard` gets every event as it comes. Returns the digest of the result. @throws Error when the run fails */
export async function trainLittle(
	client: TrainerClient,
	run: string,
	modelId: string,
	steps: number,
	heard: (message: EventMessage) => void = () => undefined
): Promise<string> {
	let result = '';
	const ended = new Promise<void>((resolve, reject) => {
		const stop = client.subscribe((message) => {
			if (message.run !== run) return;
			heard(message);
			const { event } = message;
			if (event.type === 'file' && event.role === 'result') result = digest(event.bytes);
			if (event.type !== 'ended') return;
			stop();
			if (event.outcome === 'done') resolve();
			else reject(new Error(event.problem?.message ?? event.outcome));
		});
	});
	await client.request({ type: 'train', run, request: { modelId, recipe: littleRecipe(steps), original: wave(1), target: wave(2) } });
	await ended;
	return result;
}
