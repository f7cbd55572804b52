/**
 * Looks at a network while it trains, through one forward program: the probe at fixed noise, and live previews.
 * In pass 2 the probe keeps the copier on (that is what the loss sees), a preview shows the new network alone (that is what will be used).
 */
import type { Picture, PassName, TrainingControl, TrainingEvent } from './events';
import type { Network } from './network';
import type { ProbeSource } from './objective';
import { probeLoss, probePoints, probeVerdict } from './probe';
import type { ProbePoints } from './probe';
import { Denoiser, sampleLatents } from './sample';
import type { Conditioning } from './sample';
import type { Gpu } from '../gpu/gpu';
import type { UnetConfig } from '../diffusion/config';
import type { WeightStore } from '../kernels/weights';
import type { PassSettings, PreviewSettings } from '../recipe/recipe';

/** Pictures are drawn two items at a time: with and without guidance. */
export const OBSERVER_BATCH = 2;

export interface PreviewOptions {
	readonly settings: PreviewSettings;
	readonly spacing: 'leading' | 'webui';
	readonly conditional: Conditioning;
	readonly unconditional: Conditioning;
	/** Scaled latent `[h, w, 4]` → picture. */
	readonly decode: (latent: Float32Array) => Promise<Picture>;
}

export interface ObserverOptions {
	readonly gpu: Gpu;
	readonly weights: WeightStore;
	readonly config: UnetConfig;
	readonly pass: PassName;
	readonly settings: PassSettings;
	readonly source: ProbeSource;
	readonly frozen: readonly Network[];
	readonly network: Network;
	readonly probeEvery: number;
	readonly preview: PreviewOptions | undefined;
	readonly control: TrainingControl;
	readonly emit: (event: TrainingEvent) => void;
}

/** Whether a pass with these settings needs the forward program at all. */
export function needsObserver(probeEvery: number, previewEvery: number): boolean {
	return probeEvery > 0 || previewEvery > 0;
}

/** Thrown out of the sampler when a stop comes in the middle of a preview. */
class Interrupted extends Error {}

/** The curve of probes so far. */
export interface ProbeState {
	readonly base: number;
	readonly values: readonly number[];
}

export class Observer {
	#values: number[] = [];
	#base = 0;

	private constructor(
		private readonly options: ObserverOptions,
		private readonly denoiser: Denoiser | undefined,
		private readonly points: ProbePoints
	) {}

	static async create(options: ObserverOptions): Promise<Observer> {
		const { gpu, weights, config, frozen, network, settings } = options;
		const { height, width, latent } = options.source;
		const points = probePoints(latent, { height, width, channels: config.inChannels }, settings);
		const needed = needsObserver(options.probeEvery, options.preview?.settings.every ?? 0);
		const denoiser = needed
			? await Denoiser.create(gpu, { config, weights, networks: [...frozen, network], height, width, batch: OBSERVER_BATCH, label: `${options.pass} observer` })
			: undefined;
		return new Observer(options, denoiser, points);
	}

	/** GPU memory of the forward program. */
	get bytes(): number {
		return this.denoiser?.program.summary.allocatedBytes ?? 0;
	}

	get probes(): ProbeState {
		return { base: this.#base, values: [...this.#values] };
	}

	restoreProbes({ base, values }: ProbeState): void {
		this.#base = base;
		this.#values = [...values];
	}

	/** Measures and reports; at step 0 the base. */
	async probe(step: number): Promise<void> {
		const { frozen, pass, probeEvery, source, emit } = this.options;
		if (probeEvery === 0 || !this.denoiser) return;
		const now = await this.#measure(this.denoiser, [...frozen.map(() => 1), step === 0 ? 0 : source.multiplier]);
		if (step === 0) this.#base = now;
		else this.#values.push(now);
		emit({ type: 'probe', pass, step, base: this.#base, now, verdict: probeVerdict(this.#base, this.#values) });
	}

	async preview(step: number): Promise<void> {
		const { preview, frozen, pass, control, emit } = this.options;
		const seed = preview?.settings.seeds[0];
		if (!preview || !this.denoiser || seed === undefined) return;
		const { sampler, steps, cfg } = preview.settings;
		try {
			const latent = await sampleLatents(this.denoiser, {
				seeds: [seed],
				noise: 'nv',
				sampler,
				spacing: preview.spacing,
				steps,
				cfg,
				conditional: [preview.conditional],
				unconditional: preview.unconditional,
				strengths: [...frozen.map(() => 0), 1],
				onStep: () => {
					if (control.request) throw new Interrupted();
				}
			});
			emit({ type: 'preview', pass, step, seed, strength: 1, picture: await preview.decode(latent) });
		} catch (cause) {
			if (cause instanceof Interrupted) return;
			throw cause;
		}
	}

	destroy(): void {
		this.denoiser?.destroy();
	}

	async #measure(denoiser: Denoiser, strengths: readonly number[]): Promise<number> {
		const { points, options } = this;
		const prediction = await denoiser.predict(
			points.noised,
			points.t,
			points.t.map(() => options.source.conditioning),
			strengths
		);
		return probeLoss(points, prediction, options.settings.loss);
	}
}
