/**
 * The GPU memory that pictures take beside training: the VAE while pictures are encoded, and what draws and decodes the pictures at the end. (Previews are decoded in the arenas of their pass,
 * `training/fit.ts`.) Planned by the estimate and by the run itself in the same way, so that they agree.
 *
 * Rules
 * - Where a picture is decoded is chosen by memory alone: on the GPU in the quickest way that fits, otherwise on the CPU.
 * - Decoder and UNet take turns in the same arenas.
 * - A software adapter is the CPU: there everything is left to ONNX Runtime, which takes nothing of the GPU.
 */
import type { UnetConfig } from '../diffusion/config';
import type { Gpu } from '../gpu/gpu';
import type { Graph } from '../graph/ir';
import { machineOf, planProgram } from '../kernels/plan-program';
import { fitGuest, type Guest, type GuestFit, type Guests } from '../training/fit';
import type { NetworkPlan } from '../training/network';
import { buildForward } from '../training/sample';
import type { OpenModel, Storage } from './model';

interface Size {
	readonly height: number;
	readonly width: number;
}

const forced = new WeakSet<Gpu>();

/** Pictures go through this device in any case: the way of real adapters, tried on a software one. */
export const encodeOn = (gpu: Gpu): void => void forced.add(gpu);

/** Whether pictures go through the GPU on this adapter. On lavapipe the CPU's own kernels are quicker. */
export const encodesOnGpu = (gpu: Gpu): boolean => !gpu.adapter.software || forced.has(gpu);

/** Planning takes a good part of a second at full size, and every change of the recipe asks again. */
const known = new WeakMap<Gpu, WeakMap<OpenModel['checkpoint'], Map<string, Promise<Guest | undefined>>>>();

async function planned(gpu: Gpu, checkpoint: OpenModel['checkpoint'], direction: 'encode' | 'decode', size: Size, version: number): Promise<Guest | undefined> {
	const { vaeBytes, VAE_VERSIONS } = await import('../diffusion/vae-gpu');
	if (version >= VAE_VERSIONS) return undefined;
	const { arenas, otherBytes } = await vaeBytes(gpu, checkpoint, direction, size, version);
	return { version, arenas, otherBytes };
}

/** The VAE's versions for pictures of these sizes in pixels; undefined where the GPU has no part in it. */
export function vaeGuests(gpu: Gpu, { checkpoint }: OpenModel, direction: 'encode' | 'decode', sizes: readonly Size[]): Guests | undefined {
	// One after the other, so the largest counts.
	const size = sizes.toSorted((a, b) => b.width * b.height - a.width * a.height)[0];
	if (!encodesOnGpu(gpu) || !size) return undefined;
	const models = known.get(gpu) ?? new WeakMap<OpenModel['checkpoint'], Map<string, Promise<Guest | undefined>>>();
	known.set(gpu, models);
	const plans = models.get(checkpoint) ?? new Map<string, Promise<Guest | undefined>>();
	models.set(checkpoint, plans);
	return (version) => {
		const key = `${direction} ${size.height}×${size.width} ${version}`;
		const plan = plans.get(key) ?? planned(gpu, checkpoint, direction, size, version);
		plans.set(key, plan);
		return plan;
	};
}

export interface StripRequest {
	readonly config: UnetConfig;
	/** Of the latent. */
	readonly height: number;
	readonly width: number;
	readonly storage: Storage;
	readonly guided: boolean;
	/** The graph over the weights as they are stored. */
	readonly stored: (graph: Graph) => Graph;
	readonly network: NetworkPlan;
	/** What is on the GPU already. */
	readonly heldBytes: number;
	readonly guests: Guests | undefined;
	readonly limit: number | undefined;
}

export interface StripFit extends GuestFit {
	/** Items of one run of the UNet: 2 with and without guidance at once, 1 where that takes too much. */
	readonly batch: 1 | 2;
}

/** How the pictures at the end are drawn. */
export async function fitStrip(gpu: Gpu, request: StripRequest): Promise<StripFit> {
	const { config, network, guests, limit, heldBytes, guided } = request;
	let least: StripFit | undefined;
	for (const batch of guided ? ([2, 1] as const) : ([1] as const)) {
		const plan = planProgram(machineOf(gpu), request.stored(buildForward(config, request, batch, [network]).graph));
		const fit = { ...(await fitGuest(heldBytes + plan.smallBytes, plan.memory.arenas, guests, limit)), batch };
		if (limit === undefined || fit.totalBytes <= limit) return fit;
		if (!least || fit.totalBytes < least.totalBytes) least = fit;
	}
	return least as StripFit;
}
