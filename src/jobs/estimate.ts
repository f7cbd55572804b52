/**
 * What a run will take, before anything is allocated: GPU memory of both passes as they will be planned, the result's size, and what stands in the way.
 * How much memory a GPU has, WebGPU does not tell; how much one array may have, it does, and a run that needs more is refused here. A run that does not fit what the user
 * allows is refused too, with what to change; without such a limit a run that wants a large card only says so.
 */
import { latentFactor } from '../diffusion/config';
import type { Gpu } from '../gpu/gpu';
import type { Recipe } from '../recipe/recipe';
import { networkPlan } from '../training/run-kit';
import type { Guest } from '../training/fit';
import type { MemoryEstimate, PassName, PictureMemory, Problem } from './events';
import type { GivenLoras } from './given-loras';
import type { OpenModel } from './model';
import { passMemory } from './pass-memory';
import { checkPictures, pictureMemory } from './picture-memory';
import type { PassMemory } from './pass-memory';
import { errorProblem, ProblemError, warningProblem } from './problem';
import { vaeGuests } from './vae-room';

export interface RunEstimate {
	memory: Record<PassName, MemoryEstimate>;
	pictures: PictureMemory;
	/** Of the larger step. */
	dispatches: number;
	/** Of the result. */
	fileBytes: number;
	/** What the plan found. */
	problems: Problem[];
}

const NOTHING: MemoryEstimate = { weights: 0, activations: 0, factors: 0, optimizer: 0, staging: 0, total: 0 };

/** Every array is bound as a whole. @throws ProblemError when the largest is more than this GPU can bind */
function checkBindings(gpu: Gpu, { fit }: PassMemory): void {
	const largest = Math.max(...[...fit.steps, ...fit.others].map(({ largestBinding }) => largestBinding));
	const limit = Math.min(gpu.limits.maxStorageBufferBindingSize, gpu.limits.maxBufferSize);
	if (largest <= limit) return;
	const megabytes = (bytes: number): number => Math.round((10 * bytes) / 2 ** 20) / 10;
	const [needed, most] = [megabytes(largest), megabytes(limit)];
	const message = `One array of this run takes ${needed} MB, but this GPU can handle at most ${most} MB at once. Use smaller pictures, a smaller batch or half storage.`;
	throw new ProblemError(errorProblem('gpu.binding', 'gpu', message, { needed, limit: most }));
}

const gigabytes = (bytes: number): number => Math.ceil((10 * bytes) / 2 ** 30) / 10;

/** What makes room best, from what takes it. */
const REMEDIES = {
	storage: 'Store in halves (16 bit) instead of 32 bit.',
	batch: 'Use a batch of 1.',
	optimizer: 'Lower the rank, or choose an optimizer that remembers less (8 bit, Adafactor).',
	size: 'Use smaller pictures.',
	model: 'The model itself takes most of it; a card with more memory, or a smaller model, is needed.'
} as const;

function remedyOf(recipe: Recipe, pass: PassName, memory: MemoryEstimate): keyof typeof REMEDIES {
	if (recipe.storage === 'f32') return 'storage';
	if (recipe.passes[pass].batch > 1) return 'batch';
	const least = Math.max(memory.activations, memory.optimizer + memory.factors);
	if (memory.weights > 3 * least) return 'model';
	return memory.optimizer + memory.factors > memory.activations ? 'optimizer' : 'size';
}

/** Beyond this even an unknown card may well be too small: more than 8 GB with some left for the screen. */
const MODEST = 7 * 2 ** 30;

function checkMemory(recipe: Recipe, pass: PassName, { memory, fit }: PassMemory, limit: number | undefined): Problem[] {
	const needed = gigabytes(memory.total);
	const remedy = remedyOf(recipe, pass, memory);
	if (limit !== undefined && !fit.fits) {
		const values = { needed, limit: gigabytes(limit), pass, remedy };
		const message = `This run needs at least ${needed} GB of GPU memory, and ${values.limit} GB are allowed in the settings. ${REMEDIES[remedy]} Or allow more, if the card has it.`;
		return [errorProblem('gpu.memoryLimit', 'gpu', message, values)];
	}
	if (limit === undefined && memory.total > MODEST) {
		const values = { needed, card: Math.ceil(memory.total / 2 ** 30) + 1, pass, remedy };
		const message = `This run takes ${needed} GB of GPU memory, so the card should have ${values.card} GB or more. ${REMEDIES[remedy]}`;
		return [warningProblem('gpu.memoryLarge', 'gpu', message, values)];
	}
	return [];
}

/** The recipe and what else a file says of itself. */
const METADATA = 6 << 10;

/** Halves or floats, plus a header of about 137 bytes a tensor. */
function resultBytes(model: OpenModel, recipe: Recipe, given: GivenLoras): number {
	const { modules } = networkPlan(model.checkpoint.config, recipe, 'difference', given);
	const numbers = modules.reduce((sum, m) => sum + (m.loha ? 2 : 1) * m.rank * ((m.kind === 'conv3' ? 9 : 1) * m.inFeatures + m.outFeatures) + 1, 0);
	return numbers * (recipe.saving.precision === 'f16' ? 2 : 4) + modules.reduce((sum, m) => sum + (m.loha ? 5 : 3) * 137, 0) + METADATA;
}

/**
 * @param pictures sizes in pixels that are trained, the first one first
 * @param limit bytes of the GPU the run may take; undefined: nobody said
 * @param given LoRAs it begins with
 * @param planned is told the plan of each pass, the first one first
 * @throws ProblemError `gpu.binding` when this GPU cannot run it
 */
export async function estimateRun(
	gpu: Gpu,
	model: OpenModel,
	recipe: Recipe,
	pictures: readonly { width: number; height: number }[],
	limit?: number,
	given: GivenLoras = {},
	planned: (fit: PassMemory['fit']) => void = () => undefined
): Promise<RunEstimate> {
	const factor = latentFactor(model.checkpoint.config.vae);
	const sizes = pictures.map(({ width, height }) => ({ height: height / factor, width: width / factor }));
	const trained: PassName[] = [];
	if (recipe.mode === 'difference' && recipe.copier.use === 'train') trained.push('copier');
	if (recipe.mode !== 'difference' || !recipe.copier.only) trained.push('difference');
	const memory = { copier: NOTHING, difference: NOTHING };
	const problems: Problem[] = [];
	let dispatches = 0;
	let previews: Guest | undefined;
	const guests = recipe.preview.every > 0 ? vaeGuests(gpu, model, 'decode', pictures.slice(0, 1)) : undefined;
	for (const pass of trained) {
		const found = await passMemory(gpu, model, recipe, pass, sizes, limit, given, guests);
		checkBindings(gpu, found);
		planned(found.fit);
		memory[pass] = found.memory;
		previews = found.fit.guest;
		dispatches = Math.max(dispatches, ...found.fit.steps.map((plan) => plan.dispatches));
		// Once is enough: the larger pass.
		if (found.memory.total >= Math.max(...trained.map((other) => memory[other].total)))
			problems.splice(0, problems.length, ...checkMemory(recipe, pass, found, limit));
	}
	const rest = await pictureMemory(gpu, model, { recipe, sizes: pictures, given, limit, previews, makesResult: trained.includes('difference') });
	const most = Math.max(...trained.map((pass) => memory[pass].total), rest.encode?.total ?? 0, rest.strip?.total ?? 0);
	// What is refused needs no further word.
	if (problems.every(({ level }) => level !== 'error')) problems.push(...checkPictures(gpu, model, rest, limit));
	return { memory, pictures: { ...rest, most }, dispatches, fileBytes: resultBytes(model, recipe, given), problems };
}
