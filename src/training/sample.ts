/**
 * Pictures from noise with any number of networks at any strengths: used for previews while training, the strip, `sample`, the probe and the scores.
 *
 * Rules
 * - One program for a fixed picture size and batch (and one more for each other number of context chunks, made when a long prompt asks for it); strengths are scalars, so changing one costs nothing. Weights and factors are the stores the trainer
 *   already holds: a preview in the middle of a run uploads only latents.
 * - Guidance puts the unconditional and the conditional item side by side in a batch. Guidance 1 needs only the conditional one.
 * - The sampler's arithmetic is tiny and runs on the CPU (see `diffusion/samplers.ts`).
 */
import type { UnetConfig } from '../diffusion/config';
import { noiseSource } from '../diffusion/noise';
import type { NoiseKind } from '../diffusion/noise';
import { dpmpp2m } from '../diffusion/dpmpp';
import { ddim, eulerAncestral, guide } from '../diffusion/samplers';
import { noiseOfVelocity } from '../diffusion/schedule';
import type { PromptText } from '../diffusion/text-input';
import { buildUnet } from '../diffusion/unet';
import type { Gpu } from '../gpu/gpu';
import { GraphBuilder } from '../graph/builder';
import { fuse } from '../graph/fuse';
import type { Graph, Value } from '../graph/ir';
import type { Arenas } from '../kernels/arenas';
import { compile } from '../kernels/program';
import type { Program } from '../kernels/program';
import type { WeightStore } from '../kernels/weights';
import type { SamplerKind } from '../recipe/recipe';
import { adaptersOf } from './network';
import type { Network, NetworkPlan } from './network';
import { TOKENS } from './step';
import type { StepShape } from './step';

/** Text conditioning of one picture. */
export interface Conditioning {
	/** `[77, C]`, or `[77·k, C]` of a long prompt */
	readonly context: Float32Array;
	/** `[V]`: pooled text and size embeddings, SDXL only. */
	readonly vector?: Float32Array | undefined;
	/** What the context was made of: there where the text encoder is trained, or a LoRA changes it (`text.ts`). */
	readonly text?: PromptText | undefined;
}

export interface ForwardGraph {
	readonly graph: Graph;
	readonly inputs: { readonly latent: Value; readonly t: Value; readonly context: Value; readonly vector: Value | undefined };
	/** `[B, h, w, 4]` f32 */
	readonly prediction: Value;
}

const multiplierName = (index: number): string => `strength${index}`;

/** The UNet forward with the networks' strengths as scalars `strength0`, `strength1`, … */
export function buildForward(config: UnetConfig, shape: StepShape, batch: number, networks: readonly NetworkPlan[], tokens = TOKENS): ForwardGraph {
	const builder = new GraphBuilder({ storage: shape.storage });
	const inputs = {
		latent: builder.input('latent', [batch, shape.height, shape.width, config.inChannels]),
		t: builder.input('t', [batch]),
		context: builder.input('context', [batch, tokens, config.contextDim]),
		vector: config.vectorDim > 0 ? builder.input('vector', [batch, config.vectorDim]) : undefined
	};
	const adapters = adaptersOf(
		builder,
		networks.map((plan, i) => ({ plan, multiplier: builder.scalar(multiplierName(i)) }))
	);
	const prediction = buildUnet(builder, config, { ...inputs, adapters });
	return { graph: fuse(builder.finish([prediction])), inputs, prediction };
}

export interface DenoiserOptions {
	readonly config: UnetConfig;
	readonly weights: WeightStore;
	readonly networks: readonly Network[];
	/** Of the latent. */
	readonly height: number;
	readonly width: number;
	/** Items of one run; more items than that take several runs. */
	readonly batch: number;
	/** Memory shared with programs that never run at the same time; absent, or too small: its own. */
	readonly arenas?: Arenas | undefined;
	readonly label?: string;
	readonly onProgress?: (done: number, total: number) => void;
}

/** The program for one number of context tokens. */
class Forward {
	readonly #held: (Conditioning | undefined)[] = [];

	constructor(
		readonly program: Program,
		readonly inputs: ForwardGraph['inputs'],
		readonly prediction: Value,
		private readonly options: DenoiserOptions
	) {}

	/** Writes conditionings only when they changed: in a sampling run they are the same at every step. */
	readonly condition = (items: readonly (Conditioning | undefined)[]): void => {
		if (items.length === this.#held.length && items.every((item, i) => item?.context === this.#held[i]?.context && item?.vector === this.#held[i]?.vector))
			return;
		const { config, batch } = this.options;
		const size = items[0]?.context.length ?? 0;
		const context = new Float32Array(batch * size);
		const vector = new Float32Array(batch * config.vectorDim);
		items.forEach((item, i) => {
			if (item?.context.length !== size) throw new RangeError('There are fewer contexts than latents, or contexts of different lengths.');
			context.set(item.context, i * size);
			if (item.vector) vector.set(item.vector, i * config.vectorDim);
			this.#held[i] = item;
		});
		this.program.write(this.inputs.context, context);
		if (this.inputs.vector) this.program.write(this.inputs.vector, vector);
	};
}

export class Denoiser {
	readonly #forwards = new Map<number, Promise<Forward>>();

	private constructor(
		private readonly gpu: Gpu,
		readonly options: DenoiserOptions,
		/** The one for contexts of a single chunk. */
		readonly program: Program,
		forward: Forward
	) {
		this.#forwards.set(TOKENS, Promise.resolve(forward));
	}

	/** @throws GpuError when it does not fit */
	static async create(gpu: Gpu, options: DenoiserOptions): Promise<Denoiser> {
		const forward = await Denoiser.#compile(gpu, options, TOKENS);
		return new Denoiser(gpu, options, forward.program, forward);
	}

	static async #compile(gpu: Gpu, options: DenoiserOptions, tokens: number): Promise<Forward> {
		const { config, weights, networks, height, width, batch, onProgress } = options;
		const { graph, inputs, prediction } = buildForward(config, { height, width, storage: weights.storage }, batch, networks, tokens);
		const program = await compile(gpu, graph, {
			weights,
			factors: networks.map((network) => network.store),
			label: options.label ?? 'sampler',
			arenas: options.arenas,
			...(onProgress ? { onProgress } : {})
		});
		return new Forward(program, inputs, prediction, options);
	}

	/** Numbers in one latent. */
	get size(): number {
		return this.options.height * this.options.width * this.options.config.inChannels;
	}

	/**
	 * eps of n items.
	 * @param latents `[n, h, w, 4]`, scaled
	 * @param t one step per item
	 * @param strengths one per network
	 */
	async predict(latents: Float32Array, t: readonly number[], conditioning: readonly Conditioning[], strengths: readonly number[]): Promise<Float32Array> {
		const { batch, config } = this.options;
		const { size } = this;
		const out = new Float32Array(t.length * size);
		const scalars = Object.fromEntries(this.options.networks.map((_, i) => [multiplierName(i), strengths[i] ?? 0]));
		// Contexts of different lengths never share a run: padding the shorter one would change its picture.
		const lengths = t.map((_, item) => conditioning[item]?.context.length ?? 0);
		for (const length of new Set(lengths)) {
			const group = [...lengths.keys()].filter((item) => lengths[item] === length);
			const { program, inputs, prediction, condition } = await this.#forward(length / config.contextDim);
			for (let start = 0; start < group.length; start += batch) {
				const real = group.slice(start, start + batch);
				// A last batch that is not full repeats its last item.
				const items = Array.from({ length: batch }, (_, i) => real[Math.min(i, real.length - 1)] ?? 0);
				const part = new Float32Array(batch * size);
				items.forEach((item, i) => part.set(latents.subarray(item * size, (item + 1) * size), i * size));
				program.write(inputs.latent, part);
				program.write(
					inputs.t,
					Float32Array.from(items, (item) => t[item] ?? 0)
				);
				condition(items.map((item) => conditioning[item]));
				await program.run(scalars);
				const eps = await program.read(prediction);
				real.forEach((item, i) => out.set(eps.subarray(i * size, (i + 1) * size), item * size));
			}
		}
		return out;
	}

	destroy(): void {
		for (const forward of this.#forwards.values()) void forward.then(({ program }) => program.destroy()).catch(() => undefined);
	}

	#forward(tokens: number): Promise<Forward> {
		let forward = this.#forwards.get(tokens);
		if (!forward) {
			forward = Denoiser.#compile(this.gpu, this.options, tokens);
			this.#forwards.set(tokens, forward);
		}
		return forward;
	}
}

export interface SampleOptions {
	readonly seeds: readonly number[];
	/** nv: as WebUI on a GPU; cpu: PyTorch's CPU generator. */
	readonly noise: NoiseKind;
	readonly sampler: SamplerKind;
	/** DDIM's steps: `leading` as the mini model's reference, `webui` as WebUI. */
	readonly spacing: 'leading' | 'webui';
	/** What the model predicts; absent: noise. */
	readonly prediction?: 'epsilon' | 'v' | undefined;
	readonly steps: number;
	readonly cfg: number;
	/** One per seed. */
	readonly conditional: readonly Conditioning[];
	readonly unconditional: Conditioning;
	/** One per network of the denoiser. */
	readonly strengths: readonly number[];
	/** Picture to picture: scaled latents `[n, h, w, 4]` and the highest step to begin at. DDIM only. */
	readonly from?: { readonly latent: Float32Array; readonly step: number } | undefined;
	/** Throw to stop. */
	readonly onStep?: ((done: number, steps: number) => void) | undefined;
}

/** @returns scaled latents `[n, h, w, 4]` */
export async function sampleLatents(denoiser: Denoiser, options: SampleOptions): Promise<Float32Array> {
	const { seeds, cfg, steps, onStep } = options;
	const { height, width, config } = denoiser.options;
	const noise = noiseSource(options.noise, seeds, { height, width, channels: config.inChannels });
	const n = seeds.length;
	const guided = cfg !== 1;
	const conditioning = guided ? seeds.flatMap((_, i) => [options.unconditional, conditionOf(options, i)]) : seeds.map((_, i) => conditionOf(options, i));
	const { size } = denoiser;
	const predict = async (latents: Float32Array, t: readonly number[]): Promise<Float32Array> => {
		const prediction = await denoiser.predict(latents, t, conditioning, options.strengths);
		return options.prediction === 'v' ? noiseOfVelocity(prediction, latents, t[0] ?? 0) : prediction;
	};
	const denoise = async (latent: Float32Array, t: number): Promise<Float32Array> => {
		if (!guided) return predict(latent, new Array<number>(n).fill(t));
		const doubled = new Float32Array(2 * n * size);
		for (let i = 0; i < n; i++) {
			const item = latent.subarray(i * size, (i + 1) * size);
			doubled.set(item, 2 * i * size);
			doubled.set(item, (2 * i + 1) * size);
		}
		const both = await predict(doubled, new Array<number>(2 * n).fill(t));
		const out = new Float32Array(n * size);
		for (let i = 0; i < n; i++) {
			const unconditional = both.subarray(2 * i * size, (2 * i + 1) * size);
			out.set(guide(unconditional, both.subarray((2 * i + 1) * size, (2 * i + 2) * size), cfg), i * size);
		}
		return out;
	};
	switch (options.sampler) {
		case 'ddim':
			return ddim(denoise, noise, { steps, spacing: options.spacing, from: options.from, onStep });
		case 'euler_a':
			return eulerAncestral(denoise, noise, { steps, onStep });
		case 'dpmpp_2m':
			return dpmpp2m(denoise, noise, { steps, onStep });
	}
}

function conditionOf(options: SampleOptions, i: number): Conditioning {
	const item = options.conditional[i];
	if (!item) throw new RangeError(`There is no context for picture ${i}.`);
	return item;
}
