/**
 * GPU memory of one pass before anything is allocated: the very graphs of the pass are built and fitted as the pass itself will (`training/fit.ts`), only no buffer is made.
 */
import { textConstants } from '../diffusion/clip-graph';
import type { TextConfig, UnetConfig } from '../diffusion/config';
import { unetConstants } from '../diffusion/unet-layout';
import type { Gpu } from '../gpu/gpu';
import type { Graph } from '../graph/ir';
import { quantised } from '../kernels/int8';
import type { Base } from '../kernels/int8';
import { factorMemory } from '../kernels/optimizer-state';
import { machineOf } from '../kernels/plan-program';
import { asStored } from '../kernels/stored';
import { weightBytes } from '../kernels/weight-bytes';
import type { Recipe } from '../recipe/recipe';
import { fitPass } from '../training/fit';
import type { Guests, PassFit } from '../training/fit';
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

interface Constants {
	readonly unet: UnetConfig;
	readonly text: readonly TextConfig[];
	readonly storage: Storage;
	readonly base: Base;
}

function constantsOf({ unet, text }: Constants): { name: string; shape: readonly number[] }[] {
	return [...unetConstants(unet), ...textConstants(text)];
}

export interface BaseWeights {
	readonly bytes: number;
	/** A graph over the weights as they will be stored. */
	readonly stored: (graph: Graph) => Graph;
}

/** The weights a run has on the GPU. @param text encoders that it trains */
export function baseWeights({ unet, text = [], storage, base }: Omit<Constants, 'text'> & { text?: readonly TextConfig[] | undefined }): BaseWeights {
	const constants = constantsOf({ unet, text, storage, base });
	const int8 = new Set(constants.flatMap(({ name, shape }) => (quantised(shape, base) ? [name] : [])));
	const stores = { get: (name: string) => ({ dtype: int8.has(name) ? ('i8' as const) : storage }) };
	return {
		bytes: weightBytes(
			constants.map(({ shape }) => shape),
			storage,
			base
		),
		stored: (graph) => asStored(graph, stores)
	};
}

export interface PassMemory {
	readonly memory: MemoryEstimate;
	readonly fit: PassFit;
}

/** @param sizes of the latents, the first one first @param limit bytes the run may take; undefined: see `fit.ts` @param given LoRAs it begins with @param guests what decodes its previews on the GPU */
export async function passMemory(
	gpu: Gpu,
	model: OpenModel,
	recipe: Recipe,
	pass: PassName,
	sizes: readonly { height: number; width: number }[],
	limit: number | undefined,
	given: GivenLoras = {},
	guests?: Guests
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
	const weights = baseWeights({ unet: config.unet, text: kind.text, storage, base: recipe.base });
	const { values, training, scratch } = factorMemory(factorEntries(trained), settings.optimizer);
	const held = {
		weights: weights.bytes,
		factors: values + frozen.reduce((all, plan) => all + factorMemory(factorEntries(plan), undefined).values, 0),
		// Gradients, what the optimizer remembers, and the guard's copies of it.
		optimizer: training + scratch + guardBytes(recipe.guard, training, values / 4, gpu.limits.maxStorageBufferBindingSize)
	};
	const otherBytes = held.weights + held.factors + held.optimizer;
	const fit = await fitPass({ steps, others }, { machine: machineOf(gpu), stored: weights.stored, otherBytes, limit, guests });
	const again = fit.workRatio - 1;
	const memory = { ...held, activations: fit.arenaBytes, staging: fit.smallBytes, total: fit.totalBytes };
	return { memory: { ...memory, ...(fit.guest ? { decoder: fit.guest.otherBytes } : {}), ...(again > 0 ? { again } : {}) }, fit };
}
