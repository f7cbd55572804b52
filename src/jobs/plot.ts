/**
 * Draws the cells of a plot. What costs seconds is done once and kept for the next request: the program, the text encoder's contexts, the
 * LoRAs read from their files, merges. A session belongs to one model on one GPU.
 *
 * Rules
 * - One program for all cells of a size: LoRAs sit in slots (`plot-slots.ts`), strengths and ratios are scalars, seeds and prompts fill a batch.
 * - Cells that differ only in seed and prompt are drawn together; bases come first, since every comparison needs them.
 * - Ratios without a dimension need no merge: the parts are applied side by side. With one, each merge is computed once.
 * - The decoder works in its worker while the next cells are denoised; at most two groups wait for it.
 * - Stopping loses nothing that was denoised: what waits for the decoder is still handed out.
 */
import { latentFactor, predicting } from '../diffusion/config';
import type { TextConditioning } from '../diffusion/text';
import { embedPrompts, type PromptText } from '../diffusion/text-input';
import { blobSource } from '../formats/source';
import type { Gpu } from '../gpu/gpu';
import { loadLora, type LoadedLora } from '../lora/load';
import type { NetworkModule } from '../lora/modules';
import type { CellNetwork, CellPart, CellSettings } from '../recipe/plot-cells';
import type { TrainingControl } from '../training/events';
import { Denoiser, sampleLatents, type Conditioning } from '../training/sample';
import type { Conditioner } from './conditioner';
import { conditioningOf, negativeText, wholePicture } from './conditioning';
import type { Problem, RunEvent } from './events';
import type { OpenModel } from './model';
import { mergedLora, type PlotFile } from './plot-merge';
import { covers, Slot, slotShape, type SlotContent, type SlotShape } from './plot-slots';
import { errorProblem, ProblemError, warningProblem } from './problem';
import { checkSample, samplerFor } from './sampling';
import { Cancelled, continueUnlessStopped } from './stop';
import { adaptedText, loadableModules } from './text-encoder';
import { changesText, type AdaptedText } from '../training/text';

export interface PlotWork {
	readonly cells: readonly CellSettings[];
	/** Every LoRA the cells name, by hash. */
	readonly loras: readonly PlotFile[];
	/** The model predicts velocity though its file does not say so; for all cells, bases included, since they are compared. */
	readonly prediction?: 'v' | undefined;
	/** Pictures drawn at once; by default what suits the adapter and the size. */
	readonly batch?: number;
	readonly control: TrainingControl;
	emit(event: RunEvent): void;
	/** Told what milliseconds went into; decoding goes on beside sampling, so they may add up to more than the whole. */
	readonly onTime?: (phase: PlotPhase, milliseconds: number) => void;
}

export type PlotPhase = 'read' | 'encode' | 'compile' | 'merge' | 'upload' | 'sample' | 'decode';

type Timed = <T>(phase: PlotPhase, doing: Promise<T>) => Promise<T>;

const timedBy =
	({ onTime }: PlotWork): Timed =>
	async (phase, doing) => {
		const began = performance.now();
		const result = await doing;
		onTime?.(phase, performance.now() - began);
		return result;
	};

export interface PlotOutcome {
	outcome: 'done' | 'stopped';
	drawn: number;
	/** Programs compiled for this request; 0 when the last request's program served again. */
	compiled: number;
}

/** Latent pixels of all pictures of a batch: four of SD 1.5's size, one of SDXL's. */
const BATCH_AREA = 4 * 64 * 64;
const LARGEST_BATCH = 8;
/** Merges kept beside the files; the oldest goes first. */
const MERGES_KEPT = 8;

interface Group {
	readonly networks: readonly CellNetwork[];
	readonly cells: number[];
}

/** What cells of one group share: everything but seed and prompt. */
const groupKey = ({ networks, negative, steps, cfg, sampler }: CellSettings): string =>
	JSON.stringify([networks.map(contentKey), networks.map((n) => n.strength), negative, steps, cfg, sampler]);
const contentKey = ({ parts, dimension }: CellNetwork): string => JSON.stringify([parts, dimension]);

/** Groups of cells that run together: bases first, then by what the slots hold, so that factors are uploaded as rarely as possible. */
function groupCells(cells: readonly CellSettings[]): Group[] {
	const groups = new Map<string, { networks: readonly CellNetwork[]; cells: number[]; content: string }>();
	cells.forEach((cell, i) => {
		const key = groupKey(cell);
		const group = groups.get(key) ?? { networks: cell.networks, cells: [], content: cell.networks.map(contentKey).join() };
		group.cells.push(i);
		groups.set(key, group);
	});
	const order = new Map<string, number>();
	for (const { content } of groups.values()) if (!order.has(content)) order.set(content, content === '' ? -1 : order.size);
	return [...groups.values()].sort((a, b) => (order.get(a.content) ?? 0) - (order.get(b.content) ?? 0));
}

export class PlotSession {
	#conditioner: Promise<Conditioner> | undefined;
	/** By prompt. */
	readonly #texts = new Map<string, TextConditioning>();
	/** By prompt, role and size; the same object for the same thing, so that a sampler writes it once. */
	readonly #conditionings = new Map<string, Conditioning>();
	/** What prompts are made of, for text encoders that LoRAs change. */
	readonly #words = new Map<string, PromptText>();
	#adapted: AdaptedText | undefined;
	readonly #files = new Map<string, LoadedLora>();
	readonly #merges = new Map<string, LoadedLora>();
	#slots: Slot[] = [];
	#denoiser: Denoiser | undefined;
	#compiled = 0;

	constructor(
		readonly gpu: Gpu,
		readonly model: OpenModel,
		private readonly openConditioner: () => Promise<Conditioner>
	) {}

	/** Errors: `ProblemError`, `LoraError`, `GpuError`. */
	async draw(work: PlotWork): Promise<PlotOutcome> {
		const { cells, control, emit } = work;
		const { config } = this.model.checkpoint;
		const timed = timedBy(work);
		const problem = this.check(work);
		if (problem) throw new ProblemError(problem);
		this.#compiled = 0;
		let drawn = 0;
		let decoding: Promise<void> = Promise.resolve();
		const waiting: Promise<void>[] = [];
		const first = cells[0];
		if (!first) return { outcome: 'done', drawn, compiled: 0 };
		const factor = latentFactor(config.vae);
		const [height, width] = [first.height / factor, first.width / factor];
		try {
			await timed('read', this.#readFiles(work));
			emit({ type: 'state', state: 'encoding' });
			const conditioner = await timed('encode', this.#openConditioner());
			await timed('encode', this.#encode(conditioner, cells));
			continueUnlessStopped(control);
			const groups = groupCells(cells);
			const batch = work.batch ?? this.#batchFor(groups, height * width);
			const items = cells.some(({ cfg }) => cfg !== 1) ? 2 * batch : batch;
			await timed('compile', this.#prepare(work, height, width, items));
			emit({ type: 'state', state: 'sampling' });
			const total = cells.length;
			const began = performance.now();
			let sampled = 0;
			const progress = (part: number): void => {
				const done = sampled + part;
				const seconds = (performance.now() - began) / 1000;
				emit({ type: 'plotProgress', done: drawn, total, fraction: done / total, secondsLeft: done > 0 ? (seconds / done) * (total - done) : null });
			};
			for (const group of groups) {
				const strengths = await this.#fill(group.networks, timed);
				const text = this.#changesText(group.networks) ? this.#adapted : undefined;
				for (let start = 0; start < group.cells.length; start += batch) {
					const indices = group.cells.slice(start, start + batch);
					const sampling = this.#sample(indices, cells, { strengths, text, prediction: work.prediction }, control, (share) => progress(share * indices.length));
					const latents = await timed('sample', sampling);
					sampled += indices.length;
					const size = latents.length / indices.length;
					decoding = decoding.then(async () => {
						for (const [i, index] of indices.entries()) {
							const latent = latents.slice(i * size, (i + 1) * size);
							const picture = await timed(
								'decode',
								conditioner.decode(latent, height, width, () => continueUnlessStopped(control))
							);
							drawn++;
							emit({ type: 'plotCell', index, picture });
						}
					});
					decoding.catch(() => undefined); // awaited below, or by whoever waits for room
					waiting.push(decoding);
					if (waiting.length > 2) await waiting.shift();
				}
			}
			await decoding;
			emit({ type: 'plotProgress', done: drawn, total, fraction: 1, secondsLeft: 0 });
			return { outcome: 'done', drawn, compiled: this.#compiled };
		} catch (error) {
			if (!(error instanceof Cancelled)) throw error;
			await decoding.catch((late: unknown) => {
				if (!(late instanceof Cancelled)) throw late;
			});
			return { outcome: 'stopped', drawn, compiled: this.#compiled };
		}
	}

	/** What makes the request impossible, before anything is spent. */
	check({ cells, loras }: Pick<PlotWork, 'cells' | 'loras'>): Problem | null {
		const given = new Set(loras.map(({ sha256 }) => sha256));
		const [first] = cells;
		for (const cell of cells) {
			const problem = checkSample({ ...cell, loras: [] }, this.model.checkpoint.config);
			if (problem) return problem;
			if (cell.width !== first?.width || cell.height !== first.height) return errorProblem('plot.sizes', 'base', 'All pictures of a plot must have one size.');
			for (const { parts } of cell.networks)
				for (const { sha256 } of parts)
					if (!given.has(sha256))
						return errorProblem('plot.missingFile', 'loras', `The file of a LoRA of this plot is missing (${sha256.slice(0, 12)}…). Add it again.`);
		}
		return null;
	}

	async close(): Promise<void> {
		this.#dropProgram();
		this.#files.clear();
		this.#merges.clear();
		const open = this.#conditioner;
		this.#conditioner = undefined;
		await (await open?.catch(() => undefined))?.close();
	}

	#dropProgram(): void {
		this.#denoiser?.destroy();
		this.#denoiser = undefined;
		this.#adapted?.destroy();
		this.#adapted = undefined;
		for (const slot of this.#slots) slot.destroy();
		this.#slots = [];
	}

	#openConditioner(): Promise<Conditioner> {
		this.#conditioner ??= this.openConditioner();
		this.#conditioner.catch(() => (this.#conditioner = undefined));
		return this.#conditioner;
	}

	/** As many pictures at once as groups have cells, as far as memory and patience go: a CPU gains nothing from batches and shows its first picture later. */
	#batchFor(groups: readonly Group[], area: number): number {
		if (this.gpu.adapter.software) return 1;
		const most = Math.max(1, ...groups.map(({ cells }) => cells.length));
		return Math.max(1, Math.min(most, LARGEST_BATCH, Math.floor(BATCH_AREA / area)));
	}

	async #readFiles({ loras, emit }: PlotWork): Promise<void> {
		const wanted = new Set(loras.map(({ sha256 }) => sha256));
		for (const key of this.#files.keys()) if (!wanted.has(key)) this.#files.delete(key);
		for (const { sha256, name, blob } of loras) {
			if (this.#files.has(sha256)) continue;
			const loaded = await loadLora(blobSource(blob), loadableModules(this.model));
			for (const { code, message, values } of loaded.warnings)
				emit({ type: 'warning', problem: warningProblem(code, name, `${name}: ${message}`, { ...values }) });
			this.#files.set(sha256, loaded);
		}
	}

	/** Contexts of prompts that were not met before, in one call. */
	async #encode(conditioner: Conditioner, cells: readonly CellSettings[]): Promise<void> {
		const prompts = [...new Set(cells.flatMap(({ prompt, negative }) => [prompt, negative]))].filter((prompt) => !this.#texts.has(prompt));
		if (prompts.length === 0) return;
		for (const [i, text] of (await conditioner.encodePrompts(prompts)).entries()) this.#texts.set(prompts[i] ?? '', text);
	}

	#conditioning({ prompt, negative, width, height }: CellSettings, isNegative: boolean): Conditioning {
		const words = isNegative ? negative : prompt;
		const key = JSON.stringify([words, isNegative, width, height]);
		const known = this.#conditionings.get(key);
		if (known) return known;
		const { config } = this.model.checkpoint;
		const text = this.#texts.get(words);
		if (!text) throw new Error('A prompt was not encoded.');
		const given = conditioningOf(config, isNegative ? negativeText(config, words, text) : text, wholePicture({ width, height }));
		// SDXL's empty negative prompt is nothing at all, whatever the encoder.
		const made = isNegative && words === '' && config.unet.vectorDim > 0 ? given : { ...given, text: this.#words.get(words) };
		this.#conditionings.set(key, made);
		return made;
	}

	#loraOf(sha256: string): LoadedLora {
		const lora = this.#files.get(sha256);
		if (!lora) throw new Error(`LoRA ${sha256} was not read.`);
		return lora;
	}

	/** The slots and the program, kept when what is there serves. */
	async #prepare({ cells, control, emit }: PlotWork, height: number, width: number, items: number): Promise<void> {
		const count = Math.max(0, ...cells.map(({ networks }) => networks.length));
		const shape = this.#shapeFor(cells);
		const options = this.#denoiser?.options;
		const serves = options?.height === height && options.width === width && options.batch === items;
		await this.#lookUp(cells, shape);
		if (serves && this.#slots.length >= count && this.#slots.every((slot) => covers(slot.shape, shape))) return;
		this.#dropProgram();
		emit({ type: 'state', state: 'compiling', fraction: 0 });
		const weights = await this.model.weights(this.gpu, 'f16', () => continueUnlessStopped(control));
		for (let i = 0; i < count; i++) this.#slots.push(await Slot.create(this.gpu, `slot${i}`, shape));
		this.#denoiser = await Denoiser.create(this.gpu, {
			config: this.model.checkpoint.config.unet,
			weights,
			networks: this.#slots.map(({ network }) => network),
			height,
			width,
			batch: items,
			label: 'plot',
			onProgress: (done, all) => emit({ type: 'state', state: 'compiling', fraction: done / all })
		});
		const networks = this.#slots.map(({ network }) => network);
		this.#adapted = await adaptedText(this.gpu, this.model, 'f16', networks);
		this.#compiled++;
	}

	/** Tokens of prompts that were not met before, where a LoRA changes the text encoder. */
	async #lookUp(cells: readonly CellSettings[], shape: SlotShape): Promise<void> {
		if (!changesText({ modules: [...shape.values()] })) return;
		const prompts = [...new Set(cells.flatMap(({ prompt, negative }) => [prompt, negative]))].filter((prompt) => !this.#words.has(prompt));
		if (prompts.length === 0) return;
		for (const [i, words] of (await embedPrompts(this.model.checkpoint, prompts)).entries()) this.#words.set(prompts[i] ?? '', words);
		this.#conditionings.clear();
	}

	/** A picture that no LoRA's text encoder takes part in is drawn with the frozen one, whatever else the plot draws. */
	#changesText(networks: readonly CellNetwork[]): boolean {
		return networks.some(({ strength, parts }) => strength !== 0 && parts.some(({ sha256 }) => changesText(this.#loraOf(sha256))));
	}

	#shapeFor(cells: readonly CellSettings[]): SlotShape {
		const networks = new Map(cells.flatMap((cell) => cell.networks.map((network) => [contentKey(network), network] as const)));
		const all: (readonly NetworkModule[])[] = [];
		const least = new Map<string, number>();
		for (const { parts, dimension } of networks.values()) {
			const modules = parts.map(({ sha256 }) => this.#loraOf(sha256).modules);
			if (dimension === null) {
				all.push(...modules);
				continue;
			}
			// A merge has at most the sum of the ranks; its own modules are those of all parts.
			const sums = new Map<string, number>();
			for (const m of modules.flat()) sums.set(m.path, (sums.get(m.path) ?? 0) + m.rank);
			const largest = Math.max(1, ...modules.flat().map(({ rank }) => rank));
			all.push(modules.flat().map((m) => ({ ...m, rank: 1 })));
			for (const [path, sum] of sums) {
				const bound = Math.min(sum, dimension.kind === 'fixed' ? dimension.rank : dimension.kind === 'auto' ? largest : sum);
				least.set(path, Math.max(least.get(path) ?? 0, bound));
			}
		}
		return slotShape(all, (path) => least.get(path) ?? 0);
	}

	/** Puts the networks into the slots; the strengths of all slots, 0 for those that are not needed. */
	async #fill(networks: readonly CellNetwork[], timed: Timed): Promise<number[]> {
		for (const [i, network] of networks.entries()) {
			const content = await timed('merge', this.#content(network));
			const slot = this.#slots[i];
			if (slot) await timed('upload', slot.hold(content));
		}
		return this.#slots.map((_, i) => networks[i]?.strength ?? 0);
	}

	async #content(network: CellNetwork): Promise<SlotContent> {
		const [part] = network.parts;
		if (network.dimension === null) return { id: part?.sha256 ?? '', modules: this.#loraOf(part?.sha256 ?? '').modules, blocks: part?.blocks ?? null };
		const id = contentKey(network);
		let merged = this.#merges.get(id);
		if (!merged) {
			const parts = network.parts.map((one: CellPart) => ({ ...one, lora: this.#loraOf(one.sha256) }));
			merged = await mergedLora(this.model, parts, network.dimension);
			const [oldest] = this.#merges.keys();
			if (oldest !== undefined && this.#merges.size >= MERGES_KEPT) this.#merges.delete(oldest);
			this.#merges.set(id, merged);
		}
		return { id, modules: merged.modules, blocks: null };
	}

	/** Latents `[n, h, w, 4]` of these cells, which share all but seed and prompt. */
	async #sample(
		indices: readonly number[],
		cells: readonly CellSettings[],
		{ strengths, text, prediction }: { strengths: readonly number[]; text: AdaptedText | undefined; prediction: 'v' | undefined },
		control: TrainingControl,
		onProgress: (share: number) => void
	): Promise<Float32Array> {
		const members = indices.flatMap((index) => cells[index] ?? []);
		const [first] = members;
		if (!first || !this.#denoiser) throw new Error('There is nothing to sample with.');
		const words = async (cell: CellSettings, isNegative: boolean): Promise<Conditioning> => {
			const given = this.#conditioning(cell, isNegative);
			return text ? text.condition(given, strengths) : given;
		};
		const conditional: Conditioning[] = [];
		for (const cell of members) conditional.push(await words(cell, false));
		return sampleLatents(this.#denoiser, {
			...samplerFor(predicting(this.model.checkpoint.config, prediction)),
			seeds: members.map(({ seed }) => seed),
			sampler: first.sampler,
			steps: first.steps,
			cfg: first.cfg,
			conditional,
			unconditional: await words(first, true),
			strengths,
			onStep: (done, steps) => {
				continueUnlessStopped(control);
				onProgress(done / steps);
			}
		});
	}
}
