/**
 * The run being prepared: a recipe, what is typed into it, and the two pictures. The schema judges recipe and typing together after
 * every key, so a field shows its problem while it is wrong and the last good value stays in force.
 */
import { decodeRecipeLink } from '../../recipe/link';
import { defaultRecipe } from '../../recipe/defaults';
import { applyPreset, presetsFor, type Preset } from '../../recipe/presets';
import type { Mode, ModelFamily, Recipe } from '../../recipe/recipe';
import { parseRecipe } from '../../recipe/schema';
import type { PassName, Problem, TrainRequest } from '../../service/protocol';
import { fitSize } from '../picture/checks';
import { fitPicture, flattenPicture } from '../picture/fit';
import { loadPicture, loadSample, PictureError, type LoadedPicture, type Which } from '../picture/load';
import { preferences } from '../settings/preferences.svelte';
import { DraftFiles } from './draft-files.svelte';
import { overlay, type Typed } from './fields';
import { MINI, toProblem, trainer } from './trainer.svelte';

/** Pixels a side the family was trained at; the open model's own number takes its place. */
export const RESOLUTION: Readonly<Record<ModelFamily, number>> = { mini: 128, sd15: 512, sdxl: 1024 };

export type LinkState = { kind: 'opened'; notes: Problem[] } | { kind: 'bad'; problems: Problem[] };

function fresh(family: ModelFamily, mode: Mode = 'difference'): Recipe {
	return { ...defaultRecipe(family, mode), name: 'mouth-a', storage: preferences.gpuStorage };
}

class Draft {
	recipe = $state<Recipe>(fresh('mini'));
	/** Field path → what stands in the field while it is edited, and what the schema sees of it. */
	typed = $state<Record<string, Typed>>({});
	original = $state.raw<LoadedPicture | null>(null);
	target = $state.raw<LoadedPicture | null>(null);
	/** Everything but the pair. */
	readonly files = new DraftFiles(() => this.recipe);
	/** Why a picture could not be taken. */
	pictureProblems = $state.raw<Partial<Record<Which, Problem>>>({});
	reading = $state<Partial<Record<Which, boolean>>>({});
	link = $state.raw<LinkState | null>(null);
	/** Set when both pictures were brought to one size. */
	fitted = $state.raw<{ width: number; height: number } | null>(null);

	#parsed = $derived(parseRecipe(overlay($state.snapshot(this.recipe), $state.snapshot(this.typed))));

	/** The same without what is wrong, so that one bad field does not hide what is to be said about the others. */
	#accepted = $derived.by(() => {
		if (this.#parsed.ok) return this.#parsed;
		const wrong = this.#parsed.problems.filter((problem) => problem.level === 'error').map((problem) => problem.where);
		const good = Object.entries($state.snapshot(this.typed)).filter(([path]) => !wrong.some((where) => where === path || where.startsWith(`${path}.`)));
		return parseRecipe(overlay($state.snapshot(this.recipe), Object.fromEntries(good)));
	});

	/** The recipe in force: valid, with everything typed that is valid. */
	get current(): Recipe {
		return this.#accepted.ok ? this.#accepted.recipe : $state.snapshot(this.recipe);
	}

	get problems(): readonly Problem[] {
		return this.#parsed.ok ? this.#parsed.problems : [...this.#parsed.problems, ...this.#accepted.problems];
	}

	get valid(): boolean {
		return this.#parsed.ok;
	}

	/** The field was left: what it holds enters the recipe, unless it is wrong; then it stays as typed, with its problem. */
	commit(path: string): void {
		if (!(path in this.typed) || this.problemAt(path)?.level === 'error') return;
		const accepted = this.current;
		delete this.typed[path];
		this.recipe = accepted;
	}

	problemAt(path: string): Problem | undefined {
		const found = this.problems.filter((problem) => problem.where === path || problem.where.startsWith(`${path}.`));
		return found.find((problem) => problem.level === 'error') ?? found[0];
	}

	/** Takes `recipe` as it is and loads its bundled pictures. */
	take(recipe: Recipe): void {
		this.typed = {};
		this.recipe = structuredClone(recipe);
		if (recipe.model.bundled && trainer.source.kind !== 'bundled') void trainer.choose(MINI);
		void this.#takePictures();
	}

	async #takePictures(): Promise<void> {
		for (const which of ['original', 'target'] as const) {
			const { bundled, sha256 } = this.recipe.images[which];
			const held = this[which];
			if (bundled) await this.pickSample(which, bundled);
			else if (!held || held.bundled !== null || held.sha256 !== sha256) this[which] = null;
		}
	}

	get usesPair(): boolean {
		return this.recipe.mode === 'difference' || this.recipe.mode === 'addift';
	}

	/** The passes that are trained: their settings are shown. */
	get shownPasses(): readonly PassName[] {
		const { mode, copier } = this.recipe;
		return mode === 'difference' && copier.use === 'train' ? (copier.only ? ['copier'] : ['copier', 'difference']) : ['difference'];
	}

	/** What a pass is called: outside of the two-pass method there is only the result. */
	passTitle(pass: PassName, names: Readonly<Record<PassName, string>>, result: string): string {
		return this.recipe.mode === 'difference' ? names[pass] : result;
	}

	/** What the mode trains on; null while something of it is missing. */
	get inputs(): Omit<TrainRequest, 'modelId' | 'recipe'> | null {
		const { mode, mask, resumeFrom, copier } = this.recipe;
		const { files } = this;
		const start = resumeFrom ? files.start : undefined;
		if (start === null) return null;
		const more = start ? { start } : {};
		if (mode === 'leco') return this.recipe.leco.original.trim() === '' ? null : more;
		if (mode === 'lora' || mode === 'multiAddift') return files.pictures.length > 0 ? { ...more, pictures: files.pictures } : null;
		if (!this.original || !this.target || (mask && !files.mask)) return null;
		const pair = { ...more, original: this.original.picture, target: this.target.picture, ...(mask && files.mask ? { mask: files.mask.picture } : {}) };
		if (mode !== 'difference' || copier.use === 'train') return pair;
		return files.copier ? { ...pair, copier: files.copier } : null;
	}

	/** Another mode begins with its first preset; name, model, pictures and prompts stay. */
	setMode(mode: Mode): void {
		const { recipe } = this;
		const [preset] = presetsFor(recipe.model.family, mode);
		if (mode === recipe.mode || !preset) return;
		this.applyPreset(preset);
	}

	applyPreset(preset: Preset): void {
		this.typed = {};
		this.recipe = applyPreset($state.snapshot(this.recipe), preset);
		if (preset.pictures) void this.#takePictures();
	}

	/** A model of another family has other rates and sizes: start from its defaults, keep name, prompts and pictures. */
	setModel(family: ModelFamily, name: string, bundled: boolean): void {
		const { recipe } = this;
		const base = family === recipe.model.family ? $state.snapshot(recipe) : { ...fresh(family, recipe.mode), leco: $state.snapshot(recipe.leco) };
		this.typed = family === recipe.model.family ? this.typed : {};
		this.recipe = {
			...base,
			name: recipe.name,
			images: $state.snapshot(recipe.images),
			prompts: $state.snapshot(recipe.prompts),
			model: bundled ? { name, family, bundled: 'mini' } : { name, family }
		};
	}

	pickSample(which: Which, path: string): Promise<void> {
		return this.#load(which, () => loadSample(path, which));
	}

	pickFile(which: Which, file: File): Promise<void> {
		return this.#load(which, () => loadPicture(file, file.name, which));
	}

	async #load(which: Which, load: () => Promise<LoadedPicture>): Promise<void> {
		this.reading[which] = true;
		try {
			const loaded = await load();
			this[which] = loaded;
			this.recipe.images[which] = loaded.bundled ? { name: loaded.name, bundled: loaded.bundled } : { name: loaded.name, sha256: loaded.sha256 };
			this.pictureProblems = { ...this.pictureProblems, [which]: undefined };
			this.fitted = null;
		} catch (error) {
			this.pictureProblems = { ...this.pictureProblems, [which]: error instanceof PictureError ? error.problem : toProblem(error, `images.${which}`) };
		} finally {
			this.reading[which] = false;
		}
	}

	swap(): void {
		[this.original, this.target] = [this.target, this.original];
		const { original, target } = this.recipe.images;
		this.recipe.images = { original: target, target: original };
	}

	async #change(edit: (picture: LoadedPicture) => Promise<LoadedPicture>): Promise<void> {
		const { original, target } = this;
		if (!original || !target) return;
		[this.original, this.target] = await Promise.all([edit(original), edit(target)]);
	}

	async fit(resolution: number): Promise<void> {
		if (!this.original) return;
		const size = fitSize(this.original.picture, resolution);
		await this.#change(async (loaded) => ({ ...loaded, picture: await fitPicture(loaded.picture, size) }));
		this.fitted = size;
	}

	flatten(): Promise<void> {
		return this.#change(async (loaded) => ({ ...loaded, picture: await flattenPicture(loaded.picture) }));
	}

	/** A recipe link of the address bar. */
	openLink(hash: string): void {
		const decoded = decodeRecipeLink(hash);
		if (!decoded.ok) {
			this.link = { kind: 'bad', problems: decoded.problems };
			return;
		}
		this.link = { kind: 'opened', notes: decoded.problems };
		this.take(decoded.recipe);
	}
}

export const draft = new Draft();
