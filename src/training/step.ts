/**
 * One training step as a graph: draw noise, noise the latent, predict, compare, differentiate.
 *
 *   n = gaussian(counter);  x_t = a·x₀ + s·n;  p = UNet(x_t, t, context; frozen networks, trained network);  loss[b] = w[b]·mean mask·f(p − target)
 *
 * Where the text encoder is trained too, the context is part of the graph: context = CLIP(rows of tokens; trained network).
 * The target is the noise n, the velocity a·n − s·x₀ (models of velocity prediction), or what the model without the trained network says of a second picture
 * under the same noise and timestep (the teacher; nothing flows back into it). A latent shared by the batch is repeated; noise, timestep and weight are per item.
 * Frozen networks are in force at 1; so is the trained one, unless there is a teacher: then its strength is the scalar `multiplier`, which holds from the forward
 * to the end of the backward pass because both are one program.
 */
import type { TextConfig, UnetConfig } from '../diffusion/config';
import { buildUnet } from '../diffusion/unet';
import { GraphBuilder } from '../graph/builder';
import type { Adapter } from '../graph/builder';
import { differentiate } from '../graph/differentiate';
import { fuse } from '../graph/fuse';
import type { Value } from '../graph/ir';
import type { PassSettings } from '../recipe/recipe';
import { adaptersOf, parameterNames } from './network';
import type { NetworkPlan } from './network';
import type { StepGraph } from './objective';
import { declareText, encodeText } from './text';
import type { TextInputs } from './text';

export const TOKENS = 77;

export interface StepShape {
	/** Of the latent. */
	readonly height: number;
	readonly width: number;
	readonly storage: 'f32' | 'f16';
}

export interface StepKind {
	readonly target: 'noise' | 'velocity' | 'teacher';
	/** One latent for the whole batch, or one for each item. */
	readonly latents: 'shared' | 'each';
	readonly masked: boolean;
	/** The text encoders that are trained with the UNet: texts enter as rows of tokens, not as contexts. */
	readonly text?: readonly TextConfig[] | undefined;
}

/** One picture, all of it, noise as the target. */
export const PLAIN_STEP: StepKind = { target: 'noise', latents: 'shared', masked: false };

/** Strength of the trained network in a step with a teacher. */
export const MULTIPLIER = 'multiplier';

export interface StepInputs {
	/** `[1 or B, h, w, 4]`, scaled. */
	readonly latent: Value;
	/** u32 `[4]` */
	readonly counter: Value;
	/** `[B, 2]` */
	readonly coef: Value;
	/** `[B]` */
	readonly t: Value;
	/** `[B]` */
	readonly weight: Value;
	/** `[B, 77, C]`; computed where the text encoder is trained. */
	readonly context: Value;
	/** `[B, V]`, SDXL only; computed as well then. */
	readonly vector: Value | undefined;
	/** What is written instead of context and vector where the text encoder is trained. */
	readonly text?: TextInputs | undefined;
	/** `[B, 2]`: (−s, a), for a velocity target. */
	readonly velocity: Value | undefined;
	/** `[B, h, w]`, when masked. */
	readonly mask: Value | undefined;
	/** The teacher's picture and text; shapes as above. */
	readonly teacher: { readonly latent: Value; readonly context: Value; readonly vector: Value | undefined } | undefined;
}

export interface TrainingStep extends StepGraph {
	readonly inputs: StepInputs;
}

function declareInputs(
	builder: GraphBuilder,
	config: UnetConfig,
	{ height, width }: StepShape,
	batch: number,
	kind: StepKind,
	adapters: (path: string) => Adapter[]
): StepInputs {
	const latent = (prefix: string): Value => builder.input(`${prefix}latent`, [kind.latents === 'each' ? batch : 1, height, width, config.inChannels]);
	const words = (prefix: string): { context: Value; vector: Value | undefined } => ({
		context: builder.input(`${prefix}context`, [batch, TOKENS, config.contextDim]),
		vector: config.vectorDim > 0 ? builder.input(`${prefix}vector`, [batch, config.vectorDim]) : undefined
	});
	const picture = (prefix: string): { latent: Value; context: Value; vector: Value | undefined } => ({ latent: latent(prefix), ...words(prefix) });
	const text = kind.text && declareText(builder, kind.text, batch);
	return {
		latent: latent(''),
		...(text ? { text, ...encodeText(builder, text, adapters) } : words('')),
		counter: builder.input('counter', [4], 'u32'),
		coef: builder.input('coef', [batch, 2]),
		t: builder.input('t', [batch]),
		weight: builder.input('weight', [batch]),
		velocity: kind.target === 'velocity' ? builder.input('velocity', [batch, 2]) : undefined,
		mask: kind.masked ? builder.input('mask', [batch, height, width]) : undefined,
		teacher: kind.target === 'teacher' ? picture('teacher.') : undefined
	};
}

/** Builds, differentiates and fuses. Scalars: `lossScale`, and `multiplier` with a teacher. */
export function buildStep(
	config: UnetConfig,
	shape: StepShape,
	settings: Pick<PassSettings, 'batch' | 'loss'>,
	networks: { readonly frozen: readonly NetworkPlan[]; readonly trained: NetworkPlan },
	kind: StepKind = PLAIN_STEP
): TrainingStep {
	const builder = new GraphBuilder({ storage: shape.storage });
	const frozen = networks.frozen.map((plan) => ({ plan, multiplier: undefined }));
	const trained = { plan: networks.trained, multiplier: kind.target === 'teacher' ? builder.scalar(MULTIPLIER) : undefined };
	const adapters = adaptersOf(builder, [...frozen, trained]);
	const inputs = declareInputs(builder, config, shape, settings.batch, kind, adapters);
	const { coef, t, teacher, velocity } = inputs;
	const noise = builder.gaussian(inputs.counter, [settings.batch, shape.height, shape.width, config.inChannels]);
	const predict = (of: Pick<StepInputs, 'latent' | 'context' | 'vector'>, changes: (path: string) => Adapter[]): Value =>
		buildUnet(builder, config, { latent: builder.noised(of.latent, noise, coef), t, context: of.context, vector: of.vector, adapters: changes });

	const taught = teacher && predict(teacher, adaptersOf(builder, frozen));
	const prediction = predict(inputs, adapters);
	const target = taught ?? (velocity ? builder.noised(inputs.latent, noise, velocity, 'f32') : noise);
	const loss = builder.loss(settings.loss, prediction, target, inputs.weight, inputs.mask);
	const forward = builder.finish([loss]);
	const wanted = new Set(parameterNames(networks.trained));
	const wrt = forward.values.filter((value) => value.kind === 'parameter' && wanted.has(value.name));
	const { graph, gradients } = differentiate(forward, {
		loss,
		lossScale: { factor: 1, scalar: builder.scalar('lossScale') },
		wrt,
		stop: taught ? [taught] : []
	});
	return { graph: fuse(graph), inputs, loss, gradients };
}
