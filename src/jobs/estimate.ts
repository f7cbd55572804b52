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
import { factorMemory } from '../kernels/optimizer-state';
import { slotBytes, traffic } from '../kernels/residency';
import type { Recipe } from '../recipe/recipe';
import { guardBytes } from '../training/guard-driver';
import { networkPlan } from '../training/run-kit';
import { factorEntries } from '../training/network';
import { needsObserver, OBSERVER_BATCH } from '../training/observer';
import { buildForward } from '../training/sample';
import { buildStep } from '../training/step';
import { stepKind } from '../training/train';
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

function passMemory(
	gpu: Gpu,
	model: OpenModel,
	recipe: Recipe,
	pass: PassName,
	sizes: readonly { height: number; width: number }[]
): { memory: MemoryEstimate; dispatches: number } {
	const { config } = model.checkpoint;
	const settings = recipe.passes[pass];
	const trained = networkPlan(config, recipe, pass);
	const frozen = pass === 'copier' || recipe.mode !== 'difference' ? [] : [networkPlan(config, recipe, 'copier')];
	const kind = stepKind(config, recipe, pass);
	// Every size of picture has a program of its own; only the first is probed and previewed.
	const programs = sizes.map((size) => {
		const step = buildStep(config.unet, { ...size, storage: recipe.storage }, settings, { frozen, trained }, kind);
		return programBytes(gpu, step.graph, new Set(step.gradients.values()), [step.loss]);
	});
	const sum = (of: 'arenas' | 'small'): number => programs.reduce((all, program) => all + program[of], 0);
	const shape = { height: sizes[0]?.height ?? 0, width: sizes[0]?.width ?? 0, storage: recipe.storage };
	const observed = needsObserver(recipe.probe.every, recipe.preview.every);
	const observer = observed
		? programBytes(gpu, buildForward(config.unet, shape, OBSERVER_BATCH, [...frozen, trained]).graph, new Set(), [])
		: { arenas: 0, small: 0 };
	const { values, training, scratch } = factorMemory(factorEntries(trained), settings.optimizer);
	const parts = {
		weights: weightBytes(model, recipe.storage),
		activations: sum('arenas') + observer.arenas,
		factors: values + frozen.reduce((all, plan) => all + factorMemory(factorEntries(plan), undefined).values, 0),
		// Gradients, what the optimizer remembers, and the guard's copies of it.
		optimizer: training + scratch + guardBytes(recipe.guard, training, values / 4, gpu.limits.maxStorageBufferBindingSize),
		staging: sum('small') + observer.small
	};
	return {
		memory: { ...parts, total: Object.values(parts).reduce((a, b) => a + b, 0) },
		dispatches: Math.max(...programs.map(({ dispatches }) => dispatches))
	};
}

/** Halves or floats, plus a header of about 100 bytes a tensor. */
function resultBytes(model: OpenModel, recipe: Recipe): number {
	const { modules } = networkPlan(model.checkpoint.config, recipe, 'difference');
	const numbers = modules.reduce((sum, m) => sum + m.rank * ((m.kind === 'conv3' ? 9 : 1) * m.inFeatures + m.outFeatures) + 1, 0);
	return numbers * (recipe.saving.precision === 'f16' ? 2 : 4) + modules.length * 3 * 110;
}

/** @param pictures sizes in pixels that are trained, the first one first @throws ProblemError `gpu.binding` when this GPU cannot run it */
export function estimateRun(gpu: Gpu, model: OpenModel, recipe: Recipe, pictures: readonly { width: number; height: number }[]): RunEstimate {
	const factor = latentFactor(model.checkpoint.config.vae);
	const sizes = pictures.map(({ width, height }) => ({ height: height / factor, width: width / factor }));
	const none = { weights: 0, activations: 0, factors: 0, optimizer: 0, staging: 0, total: 0 };
	const trainsCopier = recipe.mode === 'difference' && recipe.copier.use === 'train';
	const copier = trainsCopier ? passMemory(gpu, model, recipe, 'copier', sizes) : { memory: none, dispatches: 0 };
	const difference = recipe.mode === 'difference' && recipe.copier.only ? { memory: none, dispatches: 0 } : passMemory(gpu, model, recipe, 'difference', sizes);
	return {
		memory: { copier: copier.memory, difference: difference.memory },
		dispatches: Math.max(copier.dispatches, difference.dispatches),
		fileBytes: resultBytes(model, recipe)
	};
}
