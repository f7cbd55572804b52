/**
 * The live preview: the merged effect drawn while a slider moves, by using the parts side by side (which is the same as their merge before anything
 * is cut off). The trainer keeps its program between requests, so a new ratio costs drawing only. The newest wish wins: what is under way is
 * cancelled, wishes in between are dropped.
 */
import { predictionOfFiles } from '../../formats/lora-prediction';
import type { CellSettings } from '../../recipe/plot-cells';
import type { Picture, Problem } from '../../service/protocol';
import type { SamplerKind } from '../../recipe/recipe';
import { newId } from '../id';
import { toProblem, trainer } from '../train/trainer.svelte';
import type { Part } from './merge.svelte';

/** A slider moves in many small steps; the hand rests this long when it means it. */
const REST_MS = 120;

export interface PreviewSettings {
	prompt: string;
	negative: string;
	seeds: number[];
	steps: number;
	cfg: number;
	sampler: SamplerKind;
}

interface Wish {
	settings: PreviewSettings;
	parts: Part[];
}

class Preview {
	/** By seed: without any LoRA. */
	base = $state.raw<ReadonlyMap<number, Picture>>(new Map());
	/** By seed: with the merge. */
	merged = $state.raw<ReadonlyMap<number, Picture>>(new Map());
	busy = $state(false);
	/** The pictures show what the sliders say. */
	fresh = $state(false);
	problem = $state.raw<Problem | null>(null);
	#baseKey = '';
	#wish: Wish | null = null;
	#drawn = '';
	#timer: ReturnType<typeof setTimeout> | undefined;
	#run: string | null = null;
	#working: Promise<void> | null = null;

	/** Draws `parts` at their ratios soon; asking for what is drawn already does nothing. */
	ask(settings: PreviewSettings, parts: Part[]): void {
		const key = keyOf(settings, parts);
		if (key === this.#drawn && this.problem === null) return;
		this.#drawn = key;
		this.#wish = { settings, parts };
		this.fresh = false;
		clearTimeout(this.#timer);
		this.#timer = setTimeout(() => void this.#go(), REST_MS);
	}

	/** Draws again what went wrong. */
	again(): void {
		if (this.#wish) void this.#go();
	}

	/** When the screen is left: nothing goes on drawing for nobody. */
	stop(): void {
		clearTimeout(this.#timer);
		this.#wish = null;
		this.#drawn = '';
		this.#cancel();
	}

	#cancel(): void {
		if (this.#run !== null) void trainer.request({ type: 'cancel', run: this.#run }).catch(() => undefined);
	}

	async #go(): Promise<void> {
		if (this.#working) return this.#cancel(); // the loop below takes up the newest wish
		this.busy = true;
		this.#working = this.#loop();
		await this.#working;
		this.#working = null;
		this.busy = false;
	}

	async #loop(): Promise<void> {
		for (;;) {
			const wish = this.#wish;
			if (!wish) return;
			this.problem = null;
			try {
				const done = await this.#draw(wish);
				if (done && this.#wish === wish) {
					this.fresh = true;
					return;
				}
				if (!done && this.#wish === wish) return; // no model, or cancelled from elsewhere
			} catch (error) {
				if (this.#wish === wish) {
					this.problem = toProblem(error, 'preview');
					return;
				}
			}
		}
	}

	async #draw({ settings, parts }: Wish): Promise<boolean> {
		const model = await trainer.openModel();
		if (!model) {
			this.problem = trainer.modelProblem ?? trainer.problem;
			return false;
		}
		const { seeds, ...rest } = settings;
		const common = { ...rest, width: model.resolution, height: model.resolution };
		const networks = parts
			.filter(({ ratio }) => ratio !== 0)
			.map(({ sha256, ratio, blocks }) => ({ parts: [{ sha256, ratio: 1, blocks }], dimension: null, strength: ratio }));
		const prediction = await predictionOfFiles(parts.map(({ blob }) => blob));
		const baseKey = JSON.stringify([model.modelId, common, prediction]);
		if (baseKey !== this.#baseKey) {
			this.#baseKey = baseKey;
			this.base = new Map();
		}
		const wanted = [
			...seeds.map((seed) => ({ seed, kind: 'merged' as const, cell: { ...common, seed, networks } satisfies CellSettings })),
			...seeds
				.filter((seed) => !this.base.has(seed))
				.map((seed) => ({ seed, kind: 'base' as const, cell: { ...common, seed, networks: [] } satisfies CellSettings }))
		];
		const run = newId();
		this.#run = run;
		const stop = trainer.subscribe(({ run: of, event }) => {
			if (of !== run || event.type !== 'plotCell') return;
			const place = wanted[event.index];
			if (!place) return;
			this[place.kind] = new Map([...[...this[place.kind]].filter(([seed]) => seeds.includes(seed)), [place.seed, event.picture]]);
		});
		try {
			const loras = parts.map(({ name, sha256, blob }) => ({ name, sha256, blob }));
			const cells = wanted.map(({ cell }) => cell);
			const { outcome } = await trainer.request({ type: 'plot', run, request: { modelId: model.modelId, cells, loras, prediction } });
			return outcome === 'done';
		} finally {
			stop();
			this.#run = null;
		}
	}
}

function keyOf(settings: PreviewSettings, parts: readonly Part[]): string {
	return JSON.stringify([
		settings,
		parts.map(({ sha256, ratio, blocks }) => [sha256, ratio, blocks]),
		trainer.source.kind,
		trainer.source.kind === 'file' ? trainer.source.name : trainer.source.id
	]);
}

export const preview = new Preview();
