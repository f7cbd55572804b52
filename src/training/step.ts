/**
 * One training step as a graph: draw noise, noise the latent, predict, compare, differentiate.
 *
 *   n = gaussian(counter);  x_t = a·x₀ + s·n;  eps = UNet(x_t, t, context; frozen networks, trained network);  loss[b] = w[b]·mean f(eps − n)
 *
 * The latent has batch 1 and is repeated; noise, timestep and weight are per item. All networks are in force at 1 from forward to the end of backward.
 * Source: the two-pass difference method: pass 1 trains on the original, pass 2 with the copier frozen and applied on the target.
 */
import type { UnetConfig } from '../diffusion/config';
import { buildUnet } from '../diffusion/unet';
import { GraphBuilder } from '../graph/builder';
import { differentiate } from '../graph/differentiate';
import { fuse } from '../graph/fuse';
import type { Value } from '../graph/ir';
import type { PassSettings } from '../recipe/recipe';
import { adaptersOf, downName, upName } from './network';
import type { NetworkPlan } from './network';
import type { StepGraph } from './objective';

export const TOKENS = 77;

export interface StepShape {
	/** Of the latent. */
	readonly height: number;
	readonly width: number;
	readonly storage: 'f32' | 'f16';
}

export interface StepInputs {
	/** `[1, h, w, 4]`, scaled. */
	readonly latent: Value;
	/** u32 `[4]` */
	readonly counter: Value;
	/** `[B, 2]` */
	readonly coef: Value;
	/** `[B]` */
	readonly t: Value;
	/** `[B]` */
	readonly weight: Value;
	/** `[B, 77, C]` */
	readonly context: Value;
	/** `[B, V]`, SDXL only. */
	readonly vector: Value | undefined;
}

export interface TrainingStep extends StepGraph {
	readonly inputs: StepInputs;
}

/** Builds, differentiates and fuses. The only scalar is `lossScale`. */
export function buildStep(
	config: UnetConfig,
	shape: StepShape,
	settings: Pick<PassSettings, 'batch' | 'loss'>,
	networks: { readonly frozen: readonly NetworkPlan[]; readonly trained: NetworkPlan }
): TrainingStep {
	const builder = new GraphBuilder({ storage: shape.storage });
	const { batch } = settings;
	const { height, width } = shape;
	const inputs: StepInputs = {
		latent: builder.input('latent', [1, height, width, config.inChannels]),
		counter: builder.input('counter', [4], 'u32'),
		coef: builder.input('coef', [batch, 2]),
		t: builder.input('t', [batch]),
		weight: builder.input('weight', [batch]),
		context: builder.input('context', [batch, TOKENS, config.contextDim]),
		vector: config.vectorDim > 0 ? builder.input('vector', [batch, config.vectorDim]) : undefined
	};
	const noise = builder.gaussian(inputs.counter, [batch, height, width, config.inChannels]);
	const adapters = adaptersOf(
		builder,
		[...networks.frozen, networks.trained].map((plan) => ({ plan, multiplier: undefined }))
	);
	const prediction = buildUnet(builder, config, {
		latent: builder.noised(inputs.latent, noise, inputs.coef),
		t: inputs.t,
		context: inputs.context,
		vector: inputs.vector,
		adapters
	});
	const loss = builder.loss(settings.loss, prediction, noise, inputs.weight);
	const forward = builder.finish([loss]);
	const wanted = new Set(networks.trained.modules.flatMap((m) => [downName(networks.trained.label, m.path), upName(networks.trained.label, m.path)]));
	const wrt = forward.values.filter((value) => value.kind === 'parameter' && wanted.has(value.name));
	const { graph, gradients } = differentiate(forward, { loss, lossScale: { factor: 1, scalar: builder.scalar('lossScale') }, wrt });
	return { graph: fuse(graph), inputs, loss, gradients };
}
