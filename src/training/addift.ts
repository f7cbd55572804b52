/**
 * ADDifT, alternating differences without a copier: at the target picture the network in force at +m must predict what the bare model predicts of the original
 * under the same noise; at the next step the pictures change places and the network works at −m. So it learns the way from original to target and, because the
 * mirror image is trained too, little else. Trained at m = 0.25, used at 1: four times the trained displacement.
 *
 *   even: A = original, B = target, m;  odd: A = target, B = original, −m;  x_A = a·A + s·n, x_B = a·B + s·n (one noise n for both)
 *   loss( UNet(x_B, t, text of the target; ±m), stop(UNet(x_A, t, text of the original; 0)) )
 *
 * Rules (TrainTrain, spec §1.4)
 * - The odd steps' strength is −m·|ratio|. With a ratio below 0 both pictures of an odd step are the noise itself.
 * - Texts do not change places with the pictures. All items of a batch share t, each has its own noise.
 * - Windows: the range is cut into tenths; window k = (step mod 10) + 1 is chosen on even steps and kept for the odd step that follows, so k is 1, 3, 5, 7, 9.
 *   `traintrain`: t is the window's lower end, five fixed values. A guard meant for empty windows always fires there; published LoRAs and presets rest on it.
 *   `random`: t is drawn from the window anew at every step, as was meant.
 * - The teacher is the model itself, so a network that is loaded to go on from does not disturb it.
 * - Several pairs (Multi-ADDifT): batches from one picture size at a time, in the order of `batches.ts`. A batch is seen twice in a row, forwards and mirrored: in
 *   TrainTrain the pairs of an odd step are others than those of the even step before, so that nothing cancels.
 */
import type { UnetConfig } from '../diffusion/config';
import { TRAIN_STEPS } from '../diffusion/schedule';
import type { WeightStore } from '../kernels/weights';
import { seedKey, UniformStream } from '../lora/random';
import type { PassSettings } from '../recipe/recipe';
import { batchOrder } from './batches';
import type { NetworkPlan } from './network';
import { atTimesteps } from './noising';
import type { StepDraw } from './noising';
import type { Objective } from './objective';
import type { Conditioning } from './sample';
import { buildStep, MULTIPLIER } from './step';
import type { TrainingStep } from './step';
import { joined, writeConditioning, writeDraw, writeMasks } from './step-inputs';

const TIME_STREAM = 0x61646466;

/** Scaled latents `[h, w, 4]`; the mask `[h, w]` counts pixels in the loss, its mean being 1 when the loss is to be renormalised. */
export interface LatentPair {
	readonly original: Float32Array;
	readonly target: Float32Array;
	readonly mask?: Float32Array | undefined;
	/** Texts of its own instead of the run's. */
	readonly conditioning?: TextPair | undefined;
}

/** Texts of the original and of the target. */
export interface TextPair {
	readonly original: Conditioning;
	readonly target: Conditioning;
}

/** Pairs of one size. */
export interface PairBucket {
	readonly height: number;
	readonly width: number;
	readonly pairs: readonly LatentPair[];
}

export interface AddiftSettings {
	readonly timesteps: 'traintrain' | 'random';
	/** Strength in training, above 0. */
	readonly multiplier: number;
	/** Strength of the odd steps relative to the even ones; 0: they learn nothing; below 0: they learn to change nothing on pure noise, at the strength's size. */
	readonly ratio: number;
}

export interface AddiftOptions {
	readonly config: UnetConfig;
	readonly storage: WeightStore['storage'];
	readonly settings: PassSettings;
	readonly addift: AddiftSettings;
	/** Not -1. */
	readonly seed: number;
	readonly buckets: readonly PairBucket[];
	readonly conditioning: TextPair;
	readonly trained: NetworkPlan;
}

/** The timestep of step k (from 0). */
export function addiftTimestep(k: number, seed: number, range: PassSettings['timesteps'], kind: AddiftSettings['timesteps']): number {
	const span = (range.max - range.min) / 10;
	const window = ((k - (k % 2)) % 10) + 1;
	const low = Math.min(range.min + window * span, TRAIN_STEPS - 1);
	if (kind === 'traintrain') return Math.floor(low);
	const high = Math.min(range.min + (window + 1) * span, TRAIN_STEPS);
	const u = new UniformStream(seed, [TIME_STREAM, 0]).take(k, 1)[0] ?? 0;
	// A window less than one step wide holds no whole number but the one at its lower end.
	const first = Math.min(Math.ceil(low), TRAIN_STEPS - 1);
	return Math.max(Math.floor(low), Math.min(TRAIN_STEPS - 1, first + Math.floor(u * Math.max(1, Math.ceil(high) - first))));
}

/** Draws of step k. */
export function addiftDraw(seed: number, k: number, settings: PassSettings, kind: AddiftSettings['timesteps']): StepDraw {
	const t = addiftTimestep(k, seed, settings.timesteps, kind);
	const { batch } = settings;
	return { ...atTimesteps(new Array<number>(batch).fill(t), settings.minSnrGamma), counter: Uint32Array.of((k * batch) >>> 0, 0, ...seedKey(seed)) };
}

/** a·e + s·e for a picture that is the noise e: coefficients (a, s) become (0, a + s). */
function onNoise(coef: Float32Array): Float32Array {
	return coef.map((x, i) => (i % 2 === 0 ? 0 : x + (coef[i - 1] ?? 0)));
}

export function addiftObjective(options: AddiftOptions): Objective {
	const { config, storage, settings, addift, seed, buckets, conditioning, trained } = options;
	const { batch } = settings;
	const masked = buckets.some(({ pairs }) => pairs.some(({ mask }) => mask));
	const steps = buckets.map(({ height, width }) =>
		buildStep(config, { height, width, storage }, settings, { frozen: [], trained }, { target: 'teacher', latents: 'each', masked })
	);
	const ownTexts = buckets.some(({ pairs }) => pairs.some((pair) => pair.conditioning));
	const order = batchOrder({ sizes: buckets.map(({ pairs }) => pairs.length), batch, seed });
	const first = buckets[0];
	const example = first?.pairs[0];
	if (!first || !example) throw new RangeError('There is no pair to train on.');
	const both = <T>(of: (step: TrainingStep, teacher: NonNullable<TrainingStep['inputs']['teacher']>) => T, shape: number): T => {
		const step = steps[shape];
		if (!step?.inputs.teacher) throw new RangeError(`There is no step of shape ${shape}.`);
		return of(step, step.inputs.teacher);
	};
	return {
		shapes: steps,
		probe: {
			height: first.height,
			width: first.width,
			latent: example.target,
			conditioning: (example.conditioning ?? conditioning).target,
			multiplier: addift.multiplier,
			teacher: { latent: example.original, conditioning: (example.conditioning ?? conditioning).original },
			mask: example.mask
		},
		timesteps: (k) => new Array<number>(batch).fill(addiftTimestep(k, seed, settings.timesteps, addift.timesteps)),
		begin: (program, shape) =>
			both(({ inputs }, teacher) => {
				writeConditioning(program, inputs, config, new Array<Conditioning>(batch).fill(conditioning.target));
				writeConditioning(program, teacher, config, new Array<Conditioning>(batch).fill(conditioning.original));
			}, shape),
		write(k, programs) {
			const { bucket, items } = order(Math.floor(k / 2));
			const program = programs[bucket];
			const size = buckets[bucket];
			const pairs = items.map((item) => size?.pairs[item]).filter((pair) => pair !== undefined);
			if (!program || !size) throw new RangeError(`There is no program for pictures of size ${bucket}.`);
			const even = k % 2 === 0;
			both(({ inputs }, teacher) => {
				program.write(inputs.latent, joined(pairs.map(({ original, target }) => (even ? target : original))));
				program.write(teacher.latent, joined(pairs.map(({ original, target }) => (even ? original : target))));
				if (ownTexts) {
					const texts = pairs.map((pair) => pair.conditioning ?? conditioning);
					writeConditioning(
						program,
						inputs,
						config,
						texts.map(({ target }) => target)
					);
					writeConditioning(
						program,
						teacher,
						config,
						texts.map(({ original }) => original)
					);
				}
				writeMasks(program, inputs.mask, pairs, size);
				const draw = addiftDraw(seed, k, settings, addift.timesteps);
				writeDraw(program, inputs, !even && addift.ratio < 0 ? { ...draw, coef: onNoise(draw.coef) } : draw);
			}, bucket);
			return { shape: bucket, scalars: { [MULTIPLIER]: even ? addift.multiplier : -addift.multiplier * Math.abs(addift.ratio) } };
		}
	};
}
