/**
 * The VAE on the GPU: the graph of `vae-graph.ts`, made for one direction and size at a time. Between runs nothing of a picture is kept, so the program may lie in memory that others use in
 * turns (`Arenas`): a preview during training is decoded in the room of the training step.
 */
import type { Gpu } from '../gpu/gpu';
import type { Arenas } from '../kernels/arenas';
import { machineOf, planProgram, type ProgramPlan } from '../kernels/plan-program';
import { compilePlan, type Program } from '../kernels/program';
import { lowerStrips } from '../kernels/strips';
import { weightBytes } from '../kernels/weight-bytes';
import { WeightStore } from '../kernels/weights';
import type { Checkpoint } from './checkpoint';
import { latentFactor, type VaeConfig } from './config';
import { arranged, buildVae, LIMITS, planesOf, wholeQuads, type GraphLimits, type VaeConstant, type VaeGraph } from './vae-graph';
import { decoder, encoder, vaeOf, type Plane, type Progress, type Vae, type VaeEngine, type VaeNetwork } from './vae-network';

export interface GpuVae extends Vae {
	/** Memory that the next runs may use; without, or where it is too small, their own. It may be destroyed whenever no run is under way. */
	room: Arenas | undefined;
	/** Of `VAE_VERSIONS`: which of them the next runs are. The results depend on it only in rounding. */
	version: number;
}

/** Ways to compute it, the quickest first; each of the others needs less memory and computes more than the one before: kept planes, by the size of a whole picture in the first layer's channels. */
const KEPT = [Infinity, 1.5, 0.75] as const;
export const VAE_VERSIONS: number = KEPT.length;

/** @param pixels of the picture */
const versionLimits = ({ channels }: VaeConfig, pixels: number, version: number): GraphLimits => ({
	...LIMITS,
	keep: (KEPT[version] ?? 0) * 4 * channels * pixels
});

/** @param limits of memory, instead of those of a version @throws GpuError `memory` from its methods when the GPU has no room */
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
		},
		get version() {
			return engine.version;
		},
		set version(version) {
			engine.version = version;
		}
	};
}

interface Made {
	readonly network: VaeNetwork;
	/** Size and version. */
	readonly shape: string;
	readonly room: Arenas | undefined;
	readonly built: VaeGraph;
	readonly program: Program;
}

class GpuEngine implements VaeEngine {
	room: Arenas | undefined;
	version = 0;
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
		const { room, version } = this;
		const result = this.#last.then(() => this.#run(network, input, { room, version }, onProgress));
		this.#last = result.catch(() => undefined);
		return result;
	}

	async #run(network: VaeNetwork, input: Plane, how: Pick<GpuVae, 'room' | 'version'>, onProgress: Progress | undefined): Promise<Plane> {
		onProgress?.(0);
		const { built, program } = await this.#open(network, input, how);
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

	async #open(network: VaeNetwork, { channels, height, width }: Plane, { room, version }: Pick<GpuVae, 'room' | 'version'>): Promise<Made> {
		const shape = `${height}×${width} ${version}`;
		const made = this.#made;
		if (made?.network === network && made.shape === shape && made.room === room) return made;
		made?.program.destroy();
		this.#made = undefined;
		const { gpu } = this;
		const { config, file, vaeFile } = this.checkpoint;
		const scale = network === encoder ? 1 : latentFactor(config.vae);
		const limits = this.limits ?? versionLimits(config.vae, height * width * scale ** 2, version);
		const built = await buildVae(network, config.vae, vaeFile ?? file, { channels, height, width }, limits);
		const weights = await this.#load(network, built.constants);
		const program = await compilePlan(gpu, planVae(gpu, built), { weights, factors: [], label: 'vae', arenas: room });
		this.#made = { network, shape, room, built, program };
		return this.#made;
	}

	async #load(network: VaeNetwork, constants: readonly VaeConstant[]): Promise<WeightStore> {
		if (this.#weights?.network === network) return this.#weights.store;
		this.#weights?.store.destroy();
		this.#weights = undefined;
		const file = this.checkpoint.vaeFile ?? this.checkpoint.file;
		const store = new WeightStore(this.gpu, 'f32');
		try {
			for (const { name, shape } of constants) store.reserve(name, shape);
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

/** What a direction takes of the GPU for a picture of this size in pixels: bytes that lie in arenas (and may be shared), and the rest (weights, inputs). @param how a version, or limits */
export async function vaeBytes(
	gpu: Gpu,
	{ config: { vae }, file, vaeFile }: Checkpoint,
	direction: 'encode' | 'decode',
	{ height, width }: { readonly height: number; readonly width: number },
	how: number | GraphLimits = 0
): Promise<{ readonly arenas: readonly number[]; readonly otherBytes: number; readonly flops: number }> {
	const factor = direction === 'encode' ? 1 : latentFactor(vae);
	const size = { channels: direction === 'encode' ? 3 : vae.latentChannels, height: height / factor, width: width / factor };
	const limits = typeof how === 'number' ? versionLimits(vae, height * width, how) : how;
	const built = await buildVae(direction === 'encode' ? encoder : decoder, vae, vaeFile ?? file, size, limits);
	const plan = planVae(gpu, built);
	return {
		arenas: plan.memory.arenas,
		otherBytes:
			weightBytes(
				built.constants.map(({ shape }) => shape),
				'f32'
			) + plan.smallBytes,
		flops: plan.flops
	};
}
