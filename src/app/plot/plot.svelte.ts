/**
 * The plot on the table: the form, what the schema makes of it, its cells, and the drawing of those that are missing. One for the page, so
 * that leaving the room and coming back changes nothing; the last plot comes back with the next visit.
 */
import { fingerprint, sha256 } from '../../formats/fingerprint';
import { predictionOfFiles } from '../../formats/lora-prediction';
import { AXES, countCells, fixSeeds, type AxisName, type Plot, type PlotRegion } from '../../recipe/plot';
import { drawnBy, expandPlot, missingCells, type PlotCell } from '../../recipe/plot-cells';
import { usableStrengths, type CellMetrics, type UsableStrengths } from '../../recipe/plot-metrics';
import { presetAxes, type PlotPreset } from '../../recipe/plot-presets';
import { defaultPlot, parsePlot } from '../../recipe/plot-schema';
import { defaultRecipe } from '../../recipe/defaults';
import type { ModelFamily, ModelRef } from '../../recipe/recipe';
import { cellParameters } from '../../service/plot-text';
import type { EventMessage, ModelInfo, Problem } from '../../service/protocol';
import type { LibraryEntry } from '../../storage/library';
import { newId } from '../id';
import { library } from '../library/keep';
import { asStorageProblem } from '../library/problem';
import { toProblem, trainer } from '../train/trainer.svelte';
import { axisForm, toForm, toInput, type PlotForm } from './form';
import { measureAll } from './measure';
import { Pictures, plotStore } from './pictures';
import { expectedSeconds, rememberSpeed } from './speed';

/** Where a LoRA's bytes come from. */
type Source = { kind: 'library'; id: string } | { kind: 'file'; file: Blob };

export interface Progress {
	done: number;
	total: number;
	fraction: number;
	secondsLeft: number | null;
	/** Before the first step: what is being prepared. */
	state: 'preparing' | 'encoding' | 'compiling' | 'sampling';
}

/** Pixels a side that the bundled model draws. */
const BUNDLED_RESOLUTION = 128;

const drawSeed = (): number => crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;

/** A plot nobody has touched, with the prompt and sampler of the family's previews. */
function freshForm(family: ModelFamily): PlotForm {
	const { prompt, negative, steps, cfg, sampler } = defaultRecipe(family).preview;
	const plot = defaultPlot();
	return toForm({ ...plot, base: { ...plot.base, prompt, negative, steps, cfg, sampler } });
}

class PlotTable {
	form = $state<PlotForm>(freshForm('mini'));
	cells = $state.raw<readonly PlotCell[]>([]);
	/** Keys that are still to be drawn, bases included. */
	missing = $state.raw<ReadonlySet<string>>(new Set());
	/** Counts up whenever a picture arrived: what shows pictures looks at it. */
	arrived = $state(0);
	metrics = $state.raw<ReadonlyMap<string, CellMetrics>>(new Map());
	progress = $state.raw<Progress | null>(null);
	problem = $state.raw<Problem | null>(null);
	/** What was said while drawing, e.g. parts of a LoRA that are not applied. */
	notes = $state.raw<readonly Problem[]>([]);
	/** Pictures are not kept (no room, a private window): said once. */
	unkept = $state.raw<Problem | null>(null);
	adding = $state(false);

	readonly pictures = new Pictures();
	readonly #sources = new Map<string, Source>();
	/** What LoRAs say that their model predicts, by hash. */
	readonly #said = new Map<string, Promise<'v' | undefined>>();
	/** As the cells were expanded. */
	#prediction: 'v' | undefined;
	#run: string | null = null;
	#cancelled = false;
	#restored: Promise<void> | null = null;
	#expansion = 0;

	readonly parsed = $derived(parsePlot(toInput($state.snapshot(this.form), this.#modelRef)));

	get #modelRef(): ModelRef {
		const { model, source } = trainer;
		return { name: model?.name ?? (source.kind === 'file' ? source.name : 'mini'), family: model?.family ?? 'mini' };
	}

	get count(): number {
		return this.parsed.ok ? countCells(this.parsed.plot) : 0;
	}

	get busy(): boolean {
		return this.progress !== null;
	}

	get expected(): number | null {
		const steps = this.cells.find(({ key }) => this.missing.has(key))?.settings.steps ?? 0;
		return expectedSeconds(this.#modelRef.family, steps, this.missing.size);
	}

	problemAt(where: string): Problem | undefined {
		return this.parsed.problems.find((problem) => problem.where === where || problem.where.startsWith(`${where}.`));
	}

	/** The plot of the last visit, with the LoRAs that are still in the library. Once. */
	restore(): Promise<void> {
		this.#restored ??= this.#restore();
		return this.#restored;
	}

	async #restore(): Promise<void> {
		try {
			const kept = await (await plotStore()).readPlot();
			if (kept === undefined) return;
			const parsed = parsePlot(kept);
			if (!parsed.ok) return;
			const entries = await (await library()).list();
			const byHash = new Map(entries.map((entry) => [entry.sha256, entry.id]));
			const { plot } = parsed;
			for (const { sha256: hash = '' } of plot.loras) {
				const id = byHash.get(hash);
				if (id !== undefined) this.#sources.set(hash, { kind: 'library', id });
			}
			const there = plot.loras.filter(({ sha256: hash = '' }) => this.#sources.has(hash));
			// Axes may name LoRAs that are gone; without them they are no axes of this plot.
			const whole = there.length === plot.loras.length;
			this.form = toForm({ ...plot, loras: there, ...(whole ? {} : { x: null, y: null, z: null }) });
		} catch {
			// Nothing was kept, or it cannot be read: a fresh plot is as good.
		}
	}

	/** Cells, and which of them are missing, for what stands in the form now. Call it when the form or the model changed. */
	async expand(): Promise<void> {
		const turn = ++this.#expansion;
		const { parsed } = this;
		if (!parsed.ok) return;
		const plot = fixSeeds(parsed.plot, drawSeed);
		const { source, model } = trainer;
		// The size of a picture is part of its key; a file tells it once it is open.
		const resolution = model?.resolution ?? (source.kind === 'bundled' ? BUNDLED_RESOLUTION : null);
		if (resolution === null) return;
		const prediction = await this.#predictionOf(plot);
		const file = source.kind === 'file' ? await fingerprint(source.blob) : `${source.kind} ${source.id}`;
		const vae = source.kind !== 'bundled' && source.vae ? await fingerprint(source.vae.blob) : undefined;
		const identity = drawnBy(file, { vae, prediction: prediction ?? (source.kind === 'bundled' ? undefined : source.prediction) });
		const cells = await expandPlot(plot, { model: identity, resolution });
		const keys = [...new Set(cells.flatMap(({ key, baseKey }) => [key, baseKey]))];
		// A picture that cannot be read is one that is drawn again.
		const came = await this.pictures.load(keys).catch(() => false);
		if (turn !== this.#expansion) return;
		this.cells = cells;
		this.#prediction = prediction;
		await this.#count();
		if (came) this.arrived++;
	}

	/** `v` when one of the plot's LoRAs was trained for velocity: then the model predicts it, whatever its file says, in bases too. */
	async #predictionOf({ loras }: Plot): Promise<'v' | undefined> {
		const said = await Promise.all(
			loras.map(({ sha256: hash = '' }) => {
				const known = this.#said.get(hash) ?? this.#blobOf(hash).then((blob) => predictionOfFiles([blob]));
				// A LoRA that is not at hand now may be later.
				known.catch(() => this.#said.delete(hash));
				this.#said.set(hash, known);
				return known.catch(() => undefined);
			})
		);
		return said.includes('v') ? 'v' : undefined;
	}

	async #count(): Promise<void> {
		const { cells } = this;
		const missing = await missingCells(cells, (key) => this.pictures.has(key), true);
		if (cells === this.cells) this.missing = new Set(missing.keys());
	}

	applyPreset(preset: PlotPreset): void {
		const { parsed } = this;
		const loras = this.form.loras.map(({ name }) => ({ name, strength: 1, ratio: 1, blocks: '' }));
		const axes = presetAxes(preset, parsed.ok ? parsed.plot : { loras }, drawSeed);
		for (const name of AXES) this.form.axes[name] = axisForm(axes[name]);
	}

	/** Nine new seeds for an axis, written down. */
	drawSeeds(axis: AxisName, many: number): void {
		this.form.axes[axis].text = Array.from({ length: many }, drawSeed).join(', ');
	}

	async addFromLibrary({ id, name, sha256: known, strength }: Pick<LibraryEntry, 'id' | 'name' | 'sha256' | 'strength'>): Promise<void> {
		await this.#add(name, known, strength ?? 1, { kind: 'library', id }, async () => (await library()).read(id));
	}

	async addFile(file: File): Promise<void> {
		await this.#add(file.name, '', 1, { kind: 'file', file }, () => Promise.resolve(file));
	}

	async #add(file: string, known: string, strength: number, source: Source, read: () => Promise<Blob>): Promise<void> {
		this.adding = true;
		this.problem = null;
		try {
			await this.restore(); // which would take the place of what is added before it has ended
			const hash = known || (await sha256(await (await read()).arrayBuffer()));
			this.#sources.set(hash, source);
			if (this.form.loras.some((lora) => lora.sha256 === hash)) return;
			const stem = file.replace(/\.safetensors$/i, '').replace(/[+,<>:"]/g, '_');
			let name = stem;
			for (let n = 2; this.form.loras.some((lora) => lora.name === name); n++) name = `${stem}-${n}`;
			this.form.loras.push({ name, sha256: hash, strength: String(strength), ratio: '1', blocks: '' });
		} catch (error) {
			this.problem = asStorageProblem(error);
		} finally {
			this.adding = false;
		}
	}

	/** `#plot?lora=ID&lora=ID…`: one on the review sheet, several one beside the other, the oldest first. */
	async open(ids: readonly string[]): Promise<void> {
		await this.restore();
		const entries = (await (await library()).list()).filter(({ id }) => ids.includes(id)).toReversed();
		if (entries.length === 0 || this.busy) return;
		this.form.loras = [];
		for (const entry of entries) await this.addFromLibrary(entry);
		this.applyPreset(entries.length > 1 ? 'steps' : 'review');
	}

	async #blobOf(hash: string): Promise<Blob> {
		const source = this.#sources.get(hash);
		if (!source) throw new Error(`LoRA ${hash.slice(0, 12)} has no file.`);
		return source.kind === 'file' ? source.file : (await library()).read(source.id);
	}

	/** Draws what is missing. Seeds that were left open are drawn now and written into the form. */
	async start(): Promise<void> {
		if (this.busy || !this.parsed.ok) return;
		this.problem = null;
		this.notes = [];
		this.#cancelled = false;
		this.progress = { done: 0, total: this.missing.size, fraction: 0, secondsLeft: null, state: 'preparing' };
		try {
			const fixed = fixSeeds(this.parsed.plot, drawSeed);
			this.form.seed = String(fixed.base.seed);
			for (const name of AXES) if (fixed[name]?.kind === 'seed') this.form.axes[name] = axisForm(fixed[name]);
			const model = await trainer.openModel();
			if (!model) {
				this.problem = trainer.modelProblem ?? trainer.problem;
				return;
			}
			await this.expand();
			await plotStore()
				.then((store) => store.writePlot(fixed))
				.catch((error: unknown) => (this.unkept = asStorageProblem(error)));
			await this.#draw(fixed, model);
		} catch (error) {
			this.problem = toProblem(error, 'plot');
		} finally {
			this.progress = null;
			this.#run = null;
			await this.#count();
		}
	}

	async #draw(plot: Plot, { modelId, family }: ModelInfo): Promise<void> {
		const missing = await missingCells(this.cells, (key) => this.pictures.has(key), true);
		if (missing.size === 0) return;
		const keys = [...missing.keys()];
		const cells = [...missing.values()];
		const byKey = new Map(this.cells.map((cell) => [cell.key, cell]));
		const [anyCell] = this.cells;
		const run = newId();
		this.#run = run;
		const hashes = new Set(cells.flatMap(({ networks }) => networks.flatMap(({ parts }) => parts.map((part) => part.sha256))));
		const loras = await Promise.all(
			plot.loras
				.filter(({ sha256: hash = '' }) => hashes.has(hash))
				.map(async ({ name, sha256: hash = '' }) => ({ name, sha256: hash, blob: await this.#blobOf(hash) }))
		);
		if (this.#cancelled) return;
		const keeping: Promise<void>[] = [];
		let began = 0;
		const stop = trainer.subscribe(({ run: of, event }: EventMessage) => {
			if (of !== run || !this.progress) return;
			if (event.type === 'state') {
				const state = event.state === 'encoding' || event.state === 'compiling' || event.state === 'sampling' ? event.state : 'preparing';
				if (state === 'sampling') began = performance.now();
				this.progress = { ...this.progress, state, fraction: 0 };
			} else if (event.type === 'plotProgress') {
				const { done, total, fraction, secondsLeft } = event;
				this.progress = { done, total, fraction, secondsLeft, state: 'sampling' };
			} else if (event.type === 'warning') this.notes = [...this.notes, event.problem];
			else if (event.type === 'plotCell') {
				const key = keys[event.index] ?? '';
				const settings = missing.get(key);
				const cell = byKey.get(key) ?? (anyCell && settings ? { ...anyCell, key, settings, used: [] } : undefined);
				const kept = this.pictures.add(key, event.picture, cell ? cellParameters(plot, cell) : '');
				keeping.push(kept.catch((error: unknown) => void (this.unkept = asStorageProblem(error))));
				this.arrived++;
			}
		});
		try {
			const { drawn } = await trainer.request({ type: 'plot', run, request: { modelId, cells, loras, prediction: this.#prediction } });
			const steps = cells.reduce((sum, cell) => sum + cell.steps, 0) * (drawn / cells.length);
			if (began > 0 && drawn > 0) rememberSpeed(family, (performance.now() - began) / 1000 / steps);
			await Promise.all(keeping);
		} finally {
			stop();
		}
	}

	async cancel(): Promise<void> {
		this.#cancelled = true;
		if (this.#run !== null) await trainer.request({ type: 'cancel', run: this.#run });
	}

	setRegion(region: PlotRegion | null): void {
		this.form.region = region;
	}

	async measure(): Promise<void> {
		const { cells } = this;
		const found = await measureAll(cells, this.pictures, $state.snapshot(this.form.region), () => cells === this.cells);
		if (found) this.metrics = found;
	}

	/** By the strength of the first LoRA at work; only where the plot varies a strength. */
	get usable(): UsableStrengths | null {
		if (!this.form.region || !AXES.some((name) => this.form.axes[name].kind === 'strength')) return null;
		return usableStrengths(
			this.cells.flatMap(({ key, used, settings }) => {
				const metrics = this.metrics.get(key);
				return metrics && used[0] && settings.networks.length > 0 ? [{ strength: used[0].strength, metrics }] : [];
			})
		);
	}
}

export const table = new PlotTable();
