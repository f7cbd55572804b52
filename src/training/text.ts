/**
 * The text encoder in front of the UNet, where it is trained (LoRA mode, block BASE) or where LoRAs change it.
 *
 * Rules
 * - In a step the encoder is part of the graph: contexts (and SDXL's pooled vector) are computed from rows of tokens with the network's factors in force, so gradients flow from the
 *   loss through every cross attention into them.
 * - For pictures and probes there is a program of its own, whose strengths are scalars. It is small beside one step of a sampler.
 * - SDXL's six sizes are the last 1536 numbers of a conditioning's vector, whatever the text.
 */
import { buildText, makesPooled, pickRows, textValues } from '../diffusion/clip-graph';
import type { TextValues } from '../diffusion/clip-graph';
import type { TextConfig } from '../diffusion/config';
import { emphasise } from '../diffusion/emphasis';
import type { PromptText, TextItem } from '../diffusion/text-input';
import type { Gpu } from '../gpu/gpu';
import { GraphBuilder } from '../graph/builder';
import type { Adapter } from '../graph/builder';
import { fuse } from '../graph/fuse';
import type { Graph, Value } from '../graph/ir';
import type { Arenas } from '../kernels/arenas';
import { compile } from '../kernels/program';
import type { Program } from '../kernels/program';
import type { WeightStore } from '../kernels/weights';
import { adaptersOf } from './network';
import type { Network, NetworkPlan } from './network';
import type { Conditioning } from './sample';

/** Numbers of the sizes in SDXL's vector. */
const SIZES = 6 * 256;

/** Whether a network changes a text encoder. */
export function changesText({ modules }: Pick<NetworkPlan, 'modules'>): boolean {
	return modules.some(({ block }) => block === 'BASE');
}

/** What a graph that encodes text is given. */
export interface TextInputs {
	readonly configs: readonly TextConfig[];
	readonly encoders: readonly TextValues[];
	/** `[B, 1536]`, SDXL only. */
	readonly sizes: Value | undefined;
}

export function declareText(builder: GraphBuilder, configs: readonly TextConfig[], batch: number): TextInputs {
	const encoders = textValues(builder, configs, batch);
	return { configs, encoders, sizes: configs.some(makesPooled) ? builder.input('sizes', [batch, SIZES]) : undefined };
}

/** Context `[B, 77, C]` and SDXL's vector `[B, V]`, computed. */
export function encodeText(
	builder: GraphBuilder,
	{ configs, encoders, sizes }: TextInputs,
	adapters: (path: string) => readonly Adapter[]
): { context: Value; vector: Value | undefined } {
	const { context, pooled } = buildText(builder, configs, encoders, adapters);
	return { context, vector: pooled && sizes ? builder.concat([pooled, builder.cast(sizes, pooled.dtype)]) : undefined };
}

/** Writes one chunk for each item of the batch. */
function writeItems(program: Program, { configs, encoders }: Pick<TextInputs, 'configs' | 'encoders'>, batch: readonly (readonly TextItem[])[]): void {
	for (const [index, { embedded, pick }] of encoders.entries()) {
		const config = configs[index];
		if (!config) throw new RangeError(`There is no text encoder ${index + 1}.`);
		const items = batch.map((one) => one[index]);
		const rows = new Float32Array(batch.length * config.length * config.width);
		items.forEach((item, i) => rows.set(item?.embedded ?? [], i * config.length * config.width));
		program.write(embedded, rows);
		if (!pick) continue;
		const { query, key } = pickRows(
			config,
			items.map((item) => item?.end ?? 0)
		);
		program.write(pick.query, query);
		program.write(pick.key, key);
	}
}

/** A step's texts: captions of one chunk each. @throws RangeError when a conditioning does not say what it was made of */
export function writeText(program: Program, inputs: TextInputs, items: readonly Conditioning[]): void {
	writeItems(
		program,
		inputs,
		items.map(({ text }) => {
			const [chunk] = text?.chunks ?? [];
			if (!chunk) throw new RangeError('A caption was not looked up for the text encoder.');
			return chunk.items;
		})
	);
	if (!inputs.sizes) return;
	const sizes = new Float32Array(items.length * SIZES);
	items.forEach(({ vector }, i) => sizes.set(vector?.subarray(vector.length - SIZES) ?? [], i * SIZES));
	program.write(inputs.sizes, sizes);
}

const strengthName = (index: number): string => `strength${index}`;

export interface TextGraph {
	readonly graph: Graph;
	readonly encoders: readonly TextValues[];
	readonly context: Value;
	readonly pooled: Value | undefined;
}

/** One chunk of text through the encoders, the networks' strengths as scalars. */
export function buildTextForward(configs: readonly TextConfig[], storage: 'f32' | 'f16', networks: readonly NetworkPlan[]): TextGraph {
	const builder = new GraphBuilder({ storage });
	const encoders = textValues(builder, configs, 1);
	const plans = networks.map((plan, i) => ({ plan, multiplier: builder.scalar(strengthName(i)) }));
	const { context, pooled } = buildText(builder, configs, encoders, adaptersOf(builder, plans));
	return { graph: fuse(builder.finish(pooled ? [context, pooled] : [context])), encoders, context, pooled };
}

/** Encodes texts with networks in force. */
export class AdaptedText {
	private constructor(
		private readonly program: Program,
		private readonly built: TextGraph,
		private readonly configs: readonly TextConfig[]
	) {}

	/** @param options.weights must hold the encoders' tensors (`loadTextWeights`) @throws GpuError when it does not fit */
	static async create(
		gpu: Gpu,
		{
			weights,
			configs,
			networks,
			arenas
		}: {
			readonly weights: WeightStore;
			readonly configs: readonly TextConfig[];
			readonly networks: readonly Network[];
			readonly arenas?: Arenas | undefined;
		}
	): Promise<AdaptedText> {
		const built = buildTextForward(configs, weights.storage, networks);
		const program = await compile(gpu, built.graph, { weights, factors: networks.map(({ store }) => store), label: 'text', arenas });
		return new AdaptedText(program, built, configs);
	}

	get bytes(): number {
		return this.program.summary.allocatedBytes;
	}

	/** The same conditioning with the networks at these strengths; itself when it does not say what it was made of. */
	async condition(conditioning: Conditioning, strengths: readonly number[]): Promise<Conditioning> {
		const { text, vector } = conditioning;
		if (!text) return conditioning;
		const chunks: Float32Array[] = [];
		let pooled: Float32Array | undefined;
		for (const chunk of text.chunks) {
			const made = await this.#encode(chunk, strengths);
			chunks.push(made.context);
			pooled ??= made.pooled;
		}
		const size = chunks[0]?.length ?? 0;
		const context = new Float32Array(chunks.length * size);
		chunks.forEach((chunk, i) => context.set(chunk, i * size));
		if (!pooled || !vector) return { context, text };
		const changed = vector.slice();
		changed.set(pooled);
		return { context, vector: changed, text };
	}

	destroy(): void {
		this.program.destroy();
	}

	async #encode(chunk: PromptText['chunks'][number], strengths: readonly number[]): Promise<{ context: Float32Array; pooled: Float32Array | undefined }> {
		const { encoders, context, pooled } = this.built;
		writeItems(this.program, { configs: this.configs, encoders }, [chunk.items]);
		await this.program.run(Object.fromEntries(strengths.map((strength, i) => [strengthName(i), strength])));
		const rows = await this.program.read(context);
		if (chunk.weights)
			emphasise(
				rows,
				chunk.weights,
				this.configs.map(({ width }) => width)
			);
		return { context: rows, pooled: pooled && (await this.program.read(pooled)) };
	}
}
