/**
 * Looks at a network while it trains, through one forward program: the probe at fixed noise, and live previews.
 * In pass 2 the probe keeps the copier on (that is what the loss sees), a preview shows the new network alone (that is what will be used).
 */
import type { Picture, PassName, ProbeVerdict, TrainingControl, TrainingEvent } from './events';
import type { Network } from './network';
import type { Guest, Guests } from './fit';
import type { ProbeSource } from './objective';
import { baseAt, mean, noisedAt, probeBands, probeLosses, probePoints, targetsAt } from './probe';
import type { ProbePoints } from './probe';
import { buildForward, Denoiser, sampleLatents } from './sample';
import type { Conditioning } from './sample';
import { rateSpent } from './schedule-spent';
import { AdaptedText, buildTextForward } from './text';
import { judge, shouldEnd } from './verdict';
import type { ProbeReading, VerdictFrame } from './verdict';
import type { Gpu } from '../gpu/gpu';
import type { TextConfig, UnetConfig } from '../diffusion/config';
import type { Graph } from '../graph/ir';
import type { Arenas } from '../kernels/arenas';
import type { WeightStore } from '../kernels/weights';
import { firstPictures, livePictures } from '../recipe/previews';
import type { PassSettings, PreviewSettings } from '../recipe/recipe';

/** Pictures are drawn two items at a time: with and without guidance. */
export const OBSERVER_BATCH = 2;

/** Ratios to the base at which a pass of a difference run has done its work (`verdict.ts`). */
const ENOUGH: Readonly<Record<PassName, number>> = { copier: 0.45, difference: 0.7 };

export interface PreviewOptions {
	readonly settings: PreviewSettings;
	readonly spacing: 'leading' | 'webui';
	readonly prediction: 'epsilon' | 'v';
	readonly conditional: Conditioning;
	readonly unconditional: Conditioning;
	/** Whatever decodes on the GPU, to be planned for. */
	readonly guests?: Guests | undefined;
	/** Scaled latent `[h, w, 4]` → picture. `onProgress` may throw to stop; `room` is what was planned for it, undefined: nothing. */
	readonly decode: (latent: Float32Array, onProgress: () => void, room: DecodeRoom | undefined) => Promise<Picture>;
}

/** Memory of the GPU that is free while a picture is decoded, and which of the guests it was made for. */
export interface DecodeRoom {
	readonly arenas: Arenas;
	readonly version: number;
}

export interface ObserverOptions {
	readonly gpu: Gpu;
	readonly weights: WeightStore;
	readonly config: UnetConfig;
	/** The text encoders, where the trained network changes them. */
	readonly text?: readonly TextConfig[] | undefined;
	readonly pass: PassName;
	readonly settings: PassSettings;
	readonly source: ProbeSource;
	readonly frozen: readonly Network[];
	readonly network: Network;
	readonly probeEvery: number;
	readonly preview: PreviewOptions | undefined;
	/** Memory shared with the pass's steps; absent: its own. */
	readonly arenas?: Arenas | undefined;
	/** Who decodes in it. */
	readonly guest?: Guest | undefined;
	readonly control: TrainingControl;
	readonly emit: (event: TrainingEvent) => void;
}

/** The forward passes an observer runs, for planning. */
export function observerGraphs(
	options: Pick<ObserverOptions, 'config' | 'text' | 'source' | 'weights' | 'frozen' | 'network' | 'probeEvery' | 'preview'>
): Graph[] {
	const { config, text, source, weights, frozen, network } = options;
	if (!needsObserver(options.probeEvery, options.preview?.settings.every ?? 0)) return [];
	const networks = [...frozen, network];
	const picture = buildForward(config, { height: source.height, width: source.width, storage: weights.storage }, OBSERVER_BATCH, networks).graph;
	return text ? [picture, buildTextForward(text, weights.storage, networks).graph] : [picture];
}

/** Whether a pass with these settings needs the forward program at all. */
export function needsObserver(probeEvery: number, previewEvery: number): boolean {
	return probeEvery > 0 || previewEvery > 0;
}

/** Thrown out of the sampler when a stop comes in the middle of a preview. */
class Interrupted extends Error {}

/** The curve of probes so far. */
export interface ProbeState {
	/** Mean loss without the trained network, and that of each point. */
	readonly base: number;
	readonly points: readonly number[];
	/** Steps and means of the probes after the base. */
	readonly steps: readonly number[];
	readonly values: readonly number[];
}

export class Observer {
	#readings: ProbeReading[] = [];
	/** Of each point, without the trained network; empty before the first probe. */
	#base: readonly number[] = [];
	/** Noised latents, and what should be predicted for them, `[points, h, w, 4]`. */
	#noised: Float32Array | undefined;
	#targets: Float32Array | undefined;
	readonly #spent: (step: number) => number;

	private constructor(
		private readonly options: ObserverOptions,
		private readonly denoiser: Denoiser | undefined,
		private readonly text: AdaptedText | undefined,
		private readonly points: ProbePoints
	) {
		this.#spent = rateSpent(options.settings);
	}

	static async create(options: ObserverOptions): Promise<Observer> {
		const { gpu, weights, config, frozen, network, settings } = options;
		const { height, width } = options.source;
		const points = probePoints({ height, width, channels: config.inChannels }, settings);
		const needed = needsObserver(options.probeEvery, options.preview?.settings.every ?? 0);
		const denoiser = needed
			? await Denoiser.create(gpu, {
					config,
					weights,
					networks: [...frozen, network],
					height,
					width,
					batch: OBSERVER_BATCH,
					label: `${options.pass} observer`,
					arenas: options.arenas
				})
			: undefined;
		const { text: configs } = options;
		try {
			const text = needed && configs ? await AdaptedText.create(gpu, { weights, configs, networks: [...frozen, network], arenas: options.arenas }) : undefined;
			return new Observer(options, denoiser, text, points);
		} catch (error) {
			denoiser?.destroy();
			throw error;
		}
	}

	/** GPU memory of the forward programs. */
	get bytes(): number {
		return (this.denoiser?.program.summary.allocatedBytes ?? 0) + (this.text?.bytes ?? 0);
	}

	get probes(): ProbeState {
		return {
			base: this.#base.length > 0 ? mean(this.#base) : 0,
			points: [...this.#base],
			steps: this.#readings.map(({ step }) => step),
			values: this.#readings.map(({ now }) => now)
		};
	}

	restoreProbes({ points, steps, values }: ProbeState): void {
		this.#base = [...points];
		this.#readings = values.map((now, i) => ({ step: steps[i] ?? 0, now }));
	}

	/** Forgets what was measured after a step: the pass went back to it. */
	rewind(step: number): void {
		this.#readings = this.#readings.filter((reading) => reading.step <= step);
	}

	get verdict(): ProbeVerdict {
		return judge(this.#readings, this.#frame);
	}

	/** The pass has converged and may end. */
	get finished(): boolean {
		return shouldEnd(this.#readings, this.#frame);
	}

	/** Share of the pass's learning rate that is spent after so many steps, 0…1. */
	spent(step: number): number {
		return this.#spent(step);
	}

	/** Mean loss without the trained network; undefined before the first probe. */
	get base(): number | undefined {
		return this.#base.length === 0 ? undefined : mean(this.#base);
	}

	/** The loss that a network which does nothing has at these timesteps; undefined before the first probe. */
	expected(timesteps: readonly number[]): number | undefined {
		return this.#base.length === 0 ? undefined : mean(timesteps.map((t) => baseAt(this.points, this.#base, t)));
	}

	/** Measures and reports; at step 0 the base. */
	async probe(step: number): Promise<void> {
		const { frozen, pass, probeEvery, source, emit } = this.options;
		if (probeEvery === 0 || !this.denoiser) return;
		const now = await this.#measure(this.denoiser, [...frozen.map(() => 1), step === 0 ? 0 : source.multiplier]);
		if (step === 0) this.#base = now;
		else this.#readings.push({ step, now: mean(now) });
		emit({ type: 'probe', pass, step, base: mean(this.#base), now: mean(now), bands: probeBands(this.points, this.#base, now), verdict: this.verdict });
	}

	/** Draws what is to be drawn at this step; at 0 the pictures without the network. A stop in the middle keeps those that are finished. */
	async preview(step: number): Promise<void> {
		const { preview, pass, emit } = this.options;
		if (!preview || !this.denoiser) return;
		try {
			for (const { seed, strength } of step === 0 ? firstPictures(preview.settings) : livePictures(preview.settings)) {
				const latent = await this.#draw(this.denoiser, preview, seed, strength);
				const { arenas, guest } = this.options;
				const room = arenas && guest && { arenas, version: guest.version };
				emit({ type: 'preview', pass, step, seed, strength, picture: await preview.decode(latent, () => this.#goOn(), room) });
			}
		} catch (cause) {
			if (cause instanceof Interrupted) return;
			throw cause;
		}
	}

	destroy(): void {
		this.denoiser?.destroy();
		this.text?.destroy();
	}

	/** The conditioning as the text encoder gives it with the networks at these strengths. */
	async #worded(conditioning: Conditioning, strengths: readonly number[]): Promise<Conditioning> {
		return this.text ? this.text.condition(conditioning, strengths) : conditioning;
	}

	get #frame(): VerdictFrame {
		const { pass, settings, source } = this.options;
		return { base: mean(this.#base), steps: settings.iterations, enough: source.enough ?? ENOUGH[pass], spent: this.#spent };
	}

	async #draw(denoiser: Denoiser, preview: PreviewOptions, seed: number, strength: number): Promise<Float32Array> {
		const { frozen } = this.options;
		const { sampler, steps, cfg } = preview.settings;
		const strengths = [...frozen.map(() => 0), strength];
		return sampleLatents(denoiser, {
			seeds: [seed],
			noise: 'nv',
			sampler,
			spacing: preview.spacing,
			prediction: preview.prediction,
			steps,
			cfg,
			conditional: [await this.#worded(preview.conditional, strengths)],
			unconditional: await this.#worded(preview.unconditional, strengths),
			strengths,
			onStep: () => this.#goOn()
		});
	}

	#goOn(): void {
		if (this.options.control.request) throw new Interrupted();
	}

	async #measure(denoiser: Denoiser, strengths: readonly number[]): Promise<number[]> {
		const { points, options } = this;
		const { latent, conditioning, teacher, prediction, mask } = options.source;
		const predict = async (noised: Float32Array, words: Conditioning, at: readonly number[]): Promise<Float32Array> => {
			const given = await this.#worded(words, at);
			return denoiser.predict(
				noised,
				points.t,
				points.t.map(() => given),
				at
			);
		};
		const seen = (of: Float32Array): Float32Array => (options.source.pureNoise ? targetsAt(points, of, 'epsilon') : noisedAt(points, of));
		this.#noised ??= seen(latent);
		this.#targets ??= teacher
			? await predict(seen(teacher.latent), teacher.conditioning, [...options.frozen.map(() => 1), 0])
			: targetsAt(points, latent, prediction ?? 'epsilon');
		return probeLosses(points, await predict(this.#noised, conditioning, strengths), this.#targets, options.settings.loss, mask);
	}
}
