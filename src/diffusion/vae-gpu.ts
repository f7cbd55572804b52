/**
 * The VAE on the GPU: the graph of `vae-graph.ts`, made for one direction and size at a time. Between runs nothing of a picture is kept, so the program may lie in memory that others use in
 * turns (`Arenas`): a preview during training is decoded in the room of the training step.
 */
import type { Gpu } from '../gpu/gpu';
import type { Arenas } from '../kernels/arenas';
import { machineOf, planProgram, type ProgramPlan } from '../kernels/plan-program';
import { compilePlan, type Program } from '../kernels/program';
import { lowerStrips } from '../kernels/strips';
import { WeightStore } from '../kernels/weights';
import type { Checkpoint } from './checkpoint';
import { latentFactor } from './config';
import { arranged, buildVae, planesOf, wholeQuads, type GraphLimits, type VaeConstant, type VaeGraph } from './vae-graph';
import { decoder, encoder, vaeOf, type Plane, type Progress, type Vae, type VaeEngine, type VaeNetwork } from './vae-network';

export interface GpuVae extends Vae {
	/** Memory that the next runs may use; without, or where it is too small, their own. It may be destroyed whenever no run is under way. */
	room: Arenas | undefined;
}

/** @param limits of memory; the results depend on them only in rounding @throws GpuError `memory` from its methods when the GPU has no room */
export function openGpuVae(gpu: Gpu, checkpoint: Checkpoint, limits?: GraphLimits): GpuVae {
	const engine = new GpuEngine(gpu, checkpoint, limits);
	const vae = vaeOf(checkpoint.config.vae, engine);
	return {
		...vae,
		get room() {
			return engine.room;
		},
		set room(room) {
			engine.room = room;
		}
	};
}

interface Made {
	readonly network: VaeNetwork;
	readonly size: string;
	readonly room: Arenas | undefined;
	readonly built: VaeGraph;
	readonly program: Program;
}

class GpuEngine implements VaeEngine {
	room: Arenas | undefined;
	#last: Promise<unknown> = Promise.resolve();
	#made: Made | undefined;
	#weights: { readonly network: VaeNetwork; readonly store: WeightStore } | undefined;

	constructor(
		private readonly gpu: Gpu,
		private readonly checkpoint: Checkpoint,
		private readonly limits: GraphLimits | undefined
	) {}

	/** One after the other: they share a program. */
	run(network: VaeNetwork, input: Plane, onProgress: Progress | undefined): Promise<Plane> {
		const { room } = this;
		const result = this.#last.then(() => this.#run(network, input, room, onProgress));
		this.#last = result.catch(() => undefined);
		return result;
	}

	async #run(network: VaeNetwork, input: Plane, room: Arenas | undefined, onProgress: Progress | undefined): Promise<Plane> {
		onProgress?.(0);
		const { built, program } = await this.#open(network, input, room);
		onProgress?.(0);
		program.write(built.input, channelsLastQuads(input));
		await program.run({}, onProgress);
		const { height, width } = built.output;
		const channels = network === encoder ? 2 * this.checkpoint.config.vae.latentChannels : 3;
		const data = await planesOf(built.output, channels, (value) => program.read(value));
		return { data, channels, height, width };
	}

	close(): Promise<void> {
		this.#made?.program.destroy();
		this.#weights?.store.destroy();
		this.#made = undefined;
		this.#weights = undefined;
		return Promise.resolve();
	}

	async #open(network: VaeNetwork, { channels, height, width }: Plane, room: Arenas | undefined): Promise<Made> {
		const size = `${height}×${width}`;
		const made = this.#made;
		if (made?.network === network && made.size === size && made.room === room) return made;
		made?.program.destroy();
		this.#made = undefined;
		const { gpu } = this;
		const { config, file, vaeFile } = this.checkpoint;
		const built = await buildVae(network, config.vae, vaeFile ?? file, { channels, height, width }, this.limits);
		const weights = await this.#load(network, built.constants);
		const program = await compilePlan(gpu, planVae(gpu, built), { weights, factors: [], label: 'vae', arenas: room });
		this.#made = { network, size, room, built, program };
		return this.#made;
	}

	async #load(network: VaeNetwork, constants: readonly VaeConstant[]): Promise<WeightStore> {
		if (this.#weights?.network === network) return this.#weights.store;
		this.#weights?.store.destroy();
		this.#weights = undefined;
		const file = this.checkpoint.vaeFile ?? this.checkpoint.file;
		const store = new WeightStore(this.gpu, 'f32');
		try {
			for (const constant of constants) await store.add(constant.name, constant.shape, arranged(await file.readFloat32(constant.name), constant));
		} catch (cause) {
			store.destroy();
			throw cause;
		}
		this.#weights = { network, store };
		return store;
	}
}

const planVae = (gpu: Gpu, { graph }: VaeGraph): ProgramPlan => planProgram(machineOf(gpu), graph, { lower: lowerStrips });

function channelsLastQuads({ data, channels, height, width }: Plane): Float32Array {
	const wide = wholeQuads(channels);
	const area = height * width;
	const out = new Float32Array(area * wide);
	for (let c = 0; c < channels; c++) for (let p = 0; p < area; p++) out[p * wide + c] = data[c * area + p] ?? 0;
	return out;
}

/** Bytes of the GPU that a direction takes for a picture of this size in pixels: what lies in arenas (and may be shared), and the rest (weights, inputs). */
export async function vaeBytes(
	gpu: Gpu,
	{ config: { vae }, file, vaeFile }: Checkpoint,
	direction: 'encode' | 'decode',
	picture: { readonly height: number; readonly width: number }
): Promise<{ readonly arenas: readonly number[]; readonly otherBytes: number }> {
	const factor = direction === 'encode' ? 1 : latentFactor(vae);
	const size = { channels: direction === 'encode' ? 3 : vae.latentChannels, height: picture.height / factor, width: picture.width / factor };
	const built = await buildVae(direction === 'encode' ? encoder : decoder, vae, vaeFile ?? file, size);
	const plan = planVae(gpu, built);
	const weights = built.constants.reduce((sum, { shape }) => sum + 4 * shape.reduce((product, length) => product * length, 1), 0);
	return { arenas: plan.memory.arenas, otherBytes: weights + plan.smallBytes };
}
