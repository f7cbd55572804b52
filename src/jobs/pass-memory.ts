/**
 * GPU memory of one pass before anything is allocated: the very graphs of the pass are built and fitted as the pass itself will (`training/fit.ts`), only no buffer is made.
 */
import { textConstants } from '../diffusion/clip-graph';
import type { TextConfig, UnetConfig } from '../diffusion/config';
import { unetConstants } from '../diffusion/unet-layout';
import { ALIGNMENT, alignUp } from '../gpu/buffers';
import type { Gpu } from '../gpu/gpu';
import { quantised, quantisedPlaces } from '../kernels/int8';
import type { Base } from '../kernels/int8';
import { factorMemory } from '../kernels/optimizer-state';
import { machineOf } from '../kernels/plan-program';
import { asStored } from '../kernels/stored';
import type { Recipe } from '../recipe/recipe';
import { fitPass } from '../training/fit';
import type { PassFit } from '../training/fit';
import { guardBytes } from '../training/guard-driver';
import { factorEntries } from '../training/network';
import { needsObserver, OBSERVER_BATCH } from '../training/observer';
import { networkPlan } from '../training/run-kit';
import { buildForward } from '../training/sample';
import { buildStep } from '../training/step';
import { buildTextForward } from '../training/text';
import { stepKind } from '../training/train';
import type { MemoryEstimate, PassName } from './events';
import type { GivenLoras } from './given-loras';
import type { OpenModel, Storage } from './model';

/** As in `WeightStore`: tensors fill buffers of this size first-fit. */
const WEIGHT_CHUNK = 32 << 20;

interface Constants {
	readonly unet: UnetConfig;
	readonly text: readonly TextConfig[];
	readonly storage: Storage;
	readonly base: Base;
}

function constantsOf({ unet, text }: Constants): { name: string; shape: readonly number[] }[] {
	return [...unetConstants(unet), ...textConstants(text)];
}

/** Bytes a `WeightStore` takes for these weights. */
export function weightBytes(constants: Constants): number {
	const chunks: { size: number; used: number }[] = [];
	for (const { shape } of constantsOf(constants)) {
		const elements = shape.reduce((a, b) => a * b, 1);
		const own = quantised(shape, constants.base) ? quantisedPlaces(elements).end : elements * (constants.storage === 'f16' ? 2 : 4);
		const bytes = alignUp(own, 16);
		let chunk = chunks.find(({ size, used }) => used + bytes <= size);
		if (!chunk) chunks.push((chunk = { size: Math.max(bytes, WEIGHT_CHUNK), used: 0 }));
		chunk.used = alignUp(chunk.used + bytes, ALIGNMENT);
	}
	return chunks.reduce((sum, { size }) => sum + size, 0);
}

export interface PassMemory {
	readonly memory: MemoryEstimate;
	readonly fit: PassFit;
}

/** @param sizes of the latents, the first one first @param limit bytes the run may take; undefined: see `fit.ts` @param given LoRAs it begins with */
export async function passMemory(
	gpu: Gpu,
	model: OpenModel,
	recipe: Recipe,
	pass: PassName,
	sizes: readonly { height: number; width: number }[],
	limit: number | undefined,
	given: GivenLoras = {}
): Promise<PassMemory> {
	const { config } = model.checkpoint;
	const { storage } = recipe;
	const settings = recipe.passes[pass];
	const trained = networkPlan(config, recipe, pass, given);
	const frozen = pass === 'copier' || recipe.mode !== 'difference' ? [] : [networkPlan(config, recipe, 'copier', given)];
	const kind = stepKind(config, recipe, pass);
	const networks = [...frozen, trained];
	// Every size of picture has a program of its own; only the first is probed and previewed.
	const steps = sizes.map((size) => buildStep(config.unet, { ...size, storage }, settings, { frozen, trained }, kind));
	const shape = { height: sizes[0]?.height ?? 0, width: sizes[0]?.width ?? 0, storage };
	const observed = needsObserver(recipe.probe.every, recipe.preview.every);
	const others = observed ? [buildForward(config.unet, shape, OBSERVER_BATCH, networks).graph] : [];
	// Probes and previews encode their words with the network as it is.
	if (observed && kind.text) others.push(buildTextForward(kind.text, storage, networks).graph);
	const constants: Constants = { unet: config.unet, text: kind.text ?? [], storage, base: recipe.base };
	const int8 = new Set(constantsOf(constants).flatMap(({ name, shape: of }) => (quantised(of, constants.base) ? [name] : [])));
	const { values, training, scratch } = factorMemory(factorEntries(trained), settings.optimizer);
	const held = {
		weights: weightBytes(constants),
		factors: values + frozen.reduce((all, plan) => all + factorMemory(factorEntries(plan), undefined).values, 0),
		// Gradients, what the optimizer remembers, and the guard's copies of it.
		optimizer: training + scratch + guardBytes(recipe.guard, training, values / 4, gpu.limits.maxStorageBufferBindingSize)
	};
	const otherBytes = held.weights + held.factors + held.optimizer;
	const stores = { get: (name: string) => ({ dtype: int8.has(name) ? ('i8' as const) : storage }) };
	const fit = await fitPass({ steps, others }, { machine: machineOf(gpu), stored: (graph) => asStored(graph, stores), otherBytes, limit });
	const again = fit.workRatio - 1;
	return { memory: { ...held, activations: fit.arenaBytes, staging: fit.smallBytes, total: fit.totalBytes, ...(again > 0 ? { again } : {}) }, fit };
}
