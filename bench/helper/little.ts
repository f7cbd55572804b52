/** The least training that is one: 64² pictures, one late block, one pass of a few steps. What stands around the steps is what these benches are about; a card can be given all blocks and whole pictures. */
import { createHash } from 'node:crypto';
import { defaultRecipe } from '../../src/recipe/defaults';
import type { ModelFamily, Recipe } from '../../src/recipe/recipe';
import type { EventMessage, ModelInfo, Picture, TrainerClient } from '../../src/service/protocol';

export interface Size {
	/** Of the pictures, pixels; absent: 64. */
	side?: number;
	/** Every block at rank 16, as `bench/full.ts` trains; absent: one late block at rank 4. */
	all?: boolean;
}

function wave(seed: number, side: number): Picture {
	const data = Uint8ClampedArray.from({ length: side * side * 4 }, (_, i) => (i % 4 === 3 ? 255 : 128 + 100 * Math.sin(seed * i * 0.01)));
	return { width: side, height: side, data };
}

function littleRecipe(family: ModelFamily, steps: number, { all = false, side = 64 }: Size): Recipe {
	const recipe = defaultRecipe(family);
	const network = all ? { rank: 16, alpha: 16 } : { rank: 4, alpha: 4, blocks: ['OUT11'] };
	Object.assign(recipe.passes.copier, { ...network, convRank: 0, convAlpha: 0, iterations: steps, batch: 1, seed: 7 });
	recipe.resolution = { width: side, height: side };
	recipe.copier.only = true;
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
	{ modelId, family }: Pick<ModelInfo, 'modelId' | 'family'>,
	{ steps, ...size }: Size & { steps: number },
	heard: (message: EventMessage) => void = () => undefined
): Promise<string> {
	const { side = 64 } = size;
	let result = '';
	const ended = new Promise<void>((resolve, reject) => {
		const stop = client.subscribe((message) => {
			if (message.run !== run) return;
			heard(message);
			const { event } = message;
			if (event.type === 'file' && event.role !== 'intermediate') {
				result = digest(event.bytes);
				// Nobody looks at the strip.
				client.request({ type: 'stop', run, save: false }).catch(() => undefined);
			}
			if (event.type !== 'ended') return;
			stop();
			if (result !== '') resolve();
			else reject(new Error(event.problem?.message ?? event.outcome));
		});
	});
	await client.request({ type: 'train', run, request: { modelId, recipe: littleRecipe(family, steps, size), original: wave(1, side), target: wave(2, side) } });
	await ended;
	return result;
}
