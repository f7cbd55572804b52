/**
 * What a run takes of the GPU outside its passes, before anything is allocated: the VAE while pictures are encoded, and UNet and VAE while the pictures at the end are drawn; and where each
 * kind of picture goes through the VAE. The same plans as the run's own (`vae-room.ts`).
 */
import type { Gpu } from '../gpu/gpu';
import { latentFactor } from '../diffusion/config';
import { factorMemory } from '../kernels/optimizer-state';
import { machineOf, planProgram } from '../kernels/plan-program';
import type { Recipe } from '../recipe/recipe';
import { trainsTextEncoder } from '../recipe/text-encoder';
import { fitGuest, type Guest, type Guests } from '../training/fit';
import { factorEntries } from '../training/network';
import { networkPlan } from '../training/run-kit';
import { buildTextForward } from '../training/text';
import type { PhaseMemory, PictureMemory, Problem } from './events';
import type { GivenLoras } from './given-loras';
import type { OpenModel } from './model';
import { baseWeights } from './pass-memory';
import { warningProblem } from './problem';
import { fitStrip, vaeGuests } from './vae-room';

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

const phase = (total: number, guests: Guests | undefined, guest: Guest | undefined): PhaseMemory => ({
	total,
	vae: guest ? sum(guest.arenas) + guest.otherBytes : 0,
	on: guests && guest ? 'gpu' : 'cpu'
});

interface Pictures {
	readonly recipe: Recipe;
	/** In pixels, the first one first. */
	readonly sizes: readonly { readonly width: number; readonly height: number }[];
	readonly given: GivenLoras;
	readonly limit: number | undefined;
	/** Of the last pass, where the run has one. */
	readonly previews: Guest | undefined;
	readonly makesResult: boolean;
}

/** @returns without the passes' own memory */
export async function pictureMemory(
	gpu: Gpu,
	model: OpenModel,
	{ recipe, sizes, given, limit, previews, makesResult }: Pictures
): Promise<Omit<PictureMemory, 'most'>> {
	const { config } = model.checkpoint;
	const { storage, base, preview } = recipe;
	const text = trainsTextEncoder(recipe) ? config.text : undefined;
	const weights = baseWeights({ unet: config.unet, text, storage, base });
	const [first] = sizes;
	if (!first) return {};
	const found: Omit<PictureMemory, 'most'> = {};
	if (recipe.mode !== 'leco') {
		const guests = vaeGuests(gpu, model, 'encode', sizes);
		const { guest, totalBytes } = await fitGuest(weights.bytes, [], guests, limit);
		found.encode = phase(totalBytes, guests, guest);
	}
	const guests = vaeGuests(gpu, model, 'decode', [first]);
	if (preview.every > 0) found.preview = guests && previews ? 'gpu' : 'cpu';
	if (makesResult && preview.seeds.length > 0) {
		const network = { ...networkPlan(config, recipe, 'difference', given), label: 'result' };
		const factor = latentFactor(config.vae);
		const encoder = text && planProgram(machineOf(gpu), weights.stored(buildTextForward(text, storage, [network]).graph));
		const heldBytes = weights.bytes + factorMemory(factorEntries(network), undefined).values + (encoder ? encoder.arenaBytes + encoder.smallBytes : 0);
		const shape = { height: first.height / factor, width: first.width / factor, storage };
		const { totalBytes, guest } = await fitStrip(gpu, {
			config: config.unet,
			...shape,
			guided: preview.cfg !== 1,
			stored: weights.stored,
			network,
			heldBytes,
			guests,
			limit
		});
		found.strip = phase(totalBytes, guests, guest);
	}
	return found;
}

/** A GPU that could decode, and has no room for it. */
export function checkPictures(gpu: Gpu, model: OpenModel, { encode, preview, strip }: Omit<PictureMemory, 'most'>, limit: number | undefined): Problem[] {
	if (!vaeGuests(gpu, model, 'decode', [{ width: 1, height: 1 }])) return [];
	const slow = [encode?.on === 'cpu' ? 'encode' : '', preview === 'cpu' ? 'preview' : '', strip?.on === 'cpu' ? 'strip' : ''].filter((name) => name !== '');
	if (slow.length === 0) return [];
	const names: Readonly<Record<string, string>> = { encode: 'the pictures you train on', preview: 'live previews', strip: 'the pictures at the end' };
	const message = `Beside the run there is no room on the GPU for the VAE, so the CPU does its work (${slow.map((name) => names[name]).join(', ')}): that can take a minute a picture. Allow the run more memory, use smaller pictures, or draw fewer previews.`;
	return [
		warningProblem('gpu.vaeOnCpu', 'gpu', message, {
			...(limit === undefined ? {} : { limit: Math.ceil((10 * limit) / 2 ** 30) / 10 }),
			phases: slow.join(' ')
		})
	];
}
