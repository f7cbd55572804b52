/**
 * GPU memory of a run before anything is allocated: the very graphs of both passes are built, lowered and planned, only no buffer is made.
 * Counts what the `memory` event of a pass reports: weights, the step's and the observer's programs, the factors and the optimizer's state.
 * How much memory a GPU has, WebGPU does not tell; how much one array may have, it does, and a run that needs more is refused here.
 */
import { latentFactor } from '../diffusion/config';
import { unetConstants } from '../diffusion/unet-layout';
import { ALIGNMENT, alignUp } from '../gpu/buffers';
import type { Gpu } from '../gpu/gpu';
import type { Graph, Value } from '../graph/ir';
import { planMemory } from '../graph/plan';
import type { Slot } from '../kernels/dispatch';
import { lower, targetOf } from '../kernels/lower';
import { slotBytes, traffic } from '../kernels/residency';
import type { Recipe } from '../recipe/recipe';
import { networkPlan } from '../training/difference';
import { factorEntries, type NetworkPlan } from '../training/network';
import { needsObserver, OBSERVER_BATCH } from '../training/observer';
import { buildForward } from '../training/sample';
import { buildStep } from '../training/step';
import type { MemoryEstimate, PassName } from './events';
import type { OpenModel, Storage } from './model';
import { errorProblem, ProblemError } from './problem';

export interface RunEstimate {
	memory: Record<PassName, MemoryEstimate>;
	/** Of the larger step. */
	dispatches: number;
	/** Of the result. */
	fileBytes: number;
}

/** As in `WeightStore`: tensors fill buffers of this size first-fit. */
const WEIGHT_CHUNK = 32 << 20;
/** As in `compile`. */
const MAX_ARENA = 1 << 30;
const HISTORY_RUNS = 4096;

function weightBytes(model: OpenModel, storage: Storage): number {
	const chunks: { size: number; used: number }[] = [];
	for (const { shape } of unetConstants(model.checkpoint.config.unet)) {
		const bytes = alignUp(shape.reduce((a, b) => a * b, 1) * (storage === 'f16' ? 2 : 4), 16);
		let chunk = chunks.find(({ size, used }) => used + bytes <= size);
		if (!chunk) chunks.push((chunk = { size: Math.max(bytes, WEIGHT_CHUNK), used: 0 }));
		chunk.used = alignUp(chunk.used + bytes, ALIGNMENT);
	}
	return chunks.reduce((sum, { size }) => sum + size, 0);
}

interface ProgramBytes {
	arenas: number;
	/** Inputs, parameter blocks and the ring of losses. */
	small: number;
	dispatches: number;
}

function programBytes(gpu: Gpu, graph: Graph, gradients: ReadonlySet<Slot>, history: readonly Value[]): ProgramBytes {
	const target = targetOf(gpu);
	const steps = graph.ops.flatMap((op) => lower(op, target));
	const planned = (slot: Slot): boolean => ('scratch' in slot || slot.kind === 'intermediate') && !gradients.has(slot);
	checkBindings(gpu, Math.max(...steps.flatMap(({ bindings }) => bindings.map(({ slot }) => slotBytes(slot)))));
	const { arenas } = planMemory(traffic(steps, planned), slotBytes, {
		alignment: ALIGNMENT,
		maxArenaBytes: Math.min(gpu.limits.maxBufferSize, MAX_ARENA),
		pinned: [...graph.outputs, ...history].filter(planned)
	});
	const inputs = graph.values.filter(({ kind }) => kind === 'input').reduce((sum, value) => alignUp(sum + slotBytes(value), ALIGNMENT), 0);
	const rings = history.reduce((sum, value) => sum + slotBytes(value) * HISTORY_RUNS, 0);
	return { arenas: arenas.reduce((a, b) => a + b, 0), small: inputs + 256 * (steps.length + 1) + rings, dispatches: steps.length };
}

/** Every array is bound as a whole. @throws ProblemError when the largest is more than this GPU can bind */
function checkBindings(gpu: Gpu, largest: number): void {
	const limit = Math.min(gpu.limits.maxStorageBufferBindingSize, gpu.limits.maxBufferSize);
	if (largest <= limit) return;
	const megabytes = (bytes: number): number => Math.round((10 * bytes) / 2 ** 20) / 10;
	const [needed, most] = [megabytes(largest), megabytes(limit)];
	const message = `One array of this run takes ${needed} MB, but this GPU can handle at most ${most} MB at once. Use smaller pictures, a smaller batch or half storage.`;
	throw new ProblemError(errorProblem('gpu.binding', 'gpu', message, { needed, limit: most }));
}

function factorBytes(plan: NetworkPlan): number {
	return factorEntries(plan).reduce((sum, { shape, storedShape }) => alignUp(sum + (storedShape ?? shape).reduce((a, b) => a * b, 1) * 4, ALIGNMENT), 0);
}

function passMemory(
	gpu: Gpu,
	model: OpenModel,
	recipe: Recipe,
	pass: PassName,
	size: { height: number; width: number }
): { memory: MemoryEstimate; dispatches: number } {
	const { config } = model.checkpoint;
	const settings = recipe.passes[pass];
	const shape = { ...size, storage: recipe.storage };
	const trained = networkPlan(config, recipe, pass);
	const frozen = pass === 'copier' ? [] : [networkPlan(config, recipe, 'copier')];
	const step = buildStep(config.unet, shape, settings, { frozen, trained });
	const program = programBytes(gpu, step.graph, new Set(step.gradients.values()), [step.loss]);
	const observed = needsObserver(recipe.probe.every, recipe.preview.every);
	const observer = observed
		? programBytes(gpu, buildForward(config.unet, shape, OBSERVER_BATCH, [...frozen, trained]).graph, new Set(), [])
		: { arenas: 0, small: 0 };
	const values = factorBytes(trained);
	const parts = {
		weights: weightBytes(model, recipe.storage),
		activations: program.arenas + observer.arenas,
		factors: values + frozen.reduce((sum, plan) => sum + factorBytes(plan), 0),
		// Gradients, and one moment for Lion or two for AdamW.
		optimizer: values * (settings.optimizer.kind === 'lion' ? 2 : 3),
		staging: program.small + observer.small
	};
	return { memory: { ...parts, total: Object.values(parts).reduce((a, b) => a + b, 0) }, dispatches: program.dispatches };
}

/** Halves or floats, plus a header of about 100 bytes a tensor. */
function resultBytes(model: OpenModel, recipe: Recipe): number {
	const { modules } = networkPlan(model.checkpoint.config, recipe, 'difference');
	const numbers = modules.reduce((sum, m) => sum + m.rank * ((m.kind === 'conv3' ? 9 : 1) * m.inFeatures + m.outFeatures) + 1, 0);
	return numbers * (recipe.saving.precision === 'f16' ? 2 : 4) + modules.length * 3 * 110;
}

/** @param picture pixels of the training pictures @throws ProblemError `gpu.binding` when this GPU cannot run it */
export function estimateRun(gpu: Gpu, model: OpenModel, recipe: Recipe, picture: { width: number; height: number }): RunEstimate {
	const factor = latentFactor(model.checkpoint.config.vae);
	const size = { height: picture.height / factor, width: picture.width / factor };
	const copier = passMemory(gpu, model, recipe, 'copier', size);
	const difference = passMemory(gpu, model, recipe, 'difference', size);
	return {
		memory: { copier: copier.memory, difference: difference.memory },
		dispatches: Math.max(copier.dispatches, difference.dispatches),
		fileBytes: resultBytes(model, recipe)
	};
}
