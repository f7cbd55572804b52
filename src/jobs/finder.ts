/**
 * The learning-rate finder as a job: encodes what the run would train on, and ramps the rate on a throw-away network with the pass's own objective.
 * The second pass of a difference run is tried without its copier, which does not exist yet: the same model and loss, so the rate is the same to within the finder's precision.
 */
import { version } from '../../package.json';
import { denoisingObjective } from '../training/denoising';
import { adviseRate } from '../training/finder';
import type { RateAdvice } from '../training/finder';
import { runRamp } from '../training/finder-run';
import type { NetworkPlan } from '../training/network';
import type { Objective } from '../training/objective';
import { drawSeed, RunKit, withPrediction } from '../training/run-kit';
import { latentSize, objectiveOf } from '../training/train';
import type { TrainingInputs, TrainOptions } from '../training/train';
import type { PassName } from './events';
import { encodeInputs } from './inputs';
import type { RunInput } from './inputs';
import type { RunEnvironment } from './runner';
import { continueUnlessStopped } from './stop';
import { captionsForTraining } from './text-encoder';

/** Rates tried, wide enough for every optimizer but those that find their own (Prodigy and D-Adaptation want 1). */
const LOW = 1e-6;
const HIGH = 1e-1;
const STEPS = 80;

function plainObjective({ inputs, recipe, config, weights }: TrainOptions, pass: PassName, trained: NetworkPlan, seed: number): Objective {
	const bucket = inputs.kind === 'pairs' ? inputs.buckets[0] : undefined;
	const pair = bucket?.pairs[0];
	if (inputs.kind !== 'pairs' || !bucket || !pair) throw new RangeError('The difference method needs a pair of pictures.');
	const { context } = inputs.conditioning.original;
	return denoisingObjective({
		config,
		storage: weights.storage,
		settings: recipe.passes[pass],
		seed,
		latent: pass === 'copier' ? pair.original : pair.target,
		height: bucket.height,
		width: bucket.width,
		conditioning: { context, vector: inputs.conditioning.target.vector },
		mask: pass === 'difference' ? pair.mask : undefined,
		frozen: [],
		trained
	});
}

/** @returns undefined when it was stopped before anything could be said @throws GpuError, Cancelled */
export async function findRate(input: RunInput, pass: PassName, environment: RunEnvironment): Promise<RateAdvice | undefined> {
	const { gpu, model, control, emit } = environment;
	const { recipe } = input;
	const loading = (fraction: number): void => {
		emit({ type: 'state', state: 'preparing', detail: 'weights', fraction });
		continueUnlessStopped(control);
	};
	const weights = await model.weights(gpu, recipe.storage, loading, recipe.base);
	continueUnlessStopped(control);
	emit({ type: 'state', state: 'encoding' });
	const lookUp = await captionsForTraining(gpu, model, recipe);
	const conditioner = await environment.openConditioner();
	let inputs: TrainingInputs;
	try {
		const between = (fraction?: number): void => {
			continueUnlessStopped(control);
			if (fraction !== undefined) emit({ type: 'state', state: 'encoding', fraction });
		};
		inputs = await encodeInputs(input, model.checkpoint.config, conditioner, between, lookUp);
	} finally {
		await conditioner.close();
	}
	const options: TrainOptions = {
		gpu,
		weights,
		config: withPrediction(model.checkpoint.config, recipe),
		recipe,
		inputs,
		control,
		emit,
		version
	};
	const kit = new RunKit(options, latentSize(inputs));
	const plan = kit.plan(pass);
	const seed = drawSeed(recipe.passes[pass].seed);
	const points = await runRamp({
		gpu,
		weights,
		settings: recipe.passes[pass],
		seed,
		objective: recipe.mode === 'difference' ? plainObjective(options, pass, plan, seed) : objectiveOf(options, kit),
		plan,
		low: LOW,
		high: HIGH,
		steps: STEPS,
		control,
		compiling: (fraction) => emit({ type: 'state', state: 'compiling', pass, fraction }),
		onPoints: (found) => emit({ type: 'ratePoints', points: [...found] })
	});
	return adviseRate(points);
}
