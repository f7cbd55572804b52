/**
 * The merge being put together: its LoRAs with ratios and block weights, how they are merged, and the line of text that says the same. Everything a
 * merge takes lies in the library; files dropped here go there first, so that the result can name its parents.
 */
import { blockWeights } from '../../recipe/plot-blocks';
import {
	MergeGrammarError,
	parseMergeParts,
	printMergeParts,
	type Dimension,
	type MergeMethod,
	type MergePart,
	type MergePrecision,
	type MergeSettings
} from '../../recipe/merge';
import type { ModelFamily } from '../../recipe/recipe';
import type { LibraryEntry } from '../../storage/library';
import { importFiles, type Outcome } from '../library/import';
import { library } from '../library/keep';
import { stem } from '../library/lineage';
import { nameProblem } from '../library/names';
import { shelf } from '../library/shelf.svelte';

export interface Part extends MergePart {
	/** Place in the library. */
	id: string;
	sha256: string;
	blob: Blob;
	family: LibraryEntry['family'];
	bytes: number;
}

export type DimensionKind = Dimension['kind'];

/** What a new part starts with: as it is when alone, the usual share when there are others. */
const FIRST_RATIO = 1;

function sameBlocks(a: MergePart['blocks'], b: MergePart['blocks']): boolean {
	return JSON.stringify(a) === JSON.stringify(b);
}

async function sha256(blob: Blob): Promise<string> {
	return Array.from(new Uint8Array(await crypto.subtle.digest('SHA-256', await blob.arrayBuffer())), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** `a`, then `a-2`: in the line of text each LoRA is called by its name. Commas and colons would end it there. */
function partName(name: string, taken: readonly string[]): string {
	const plain = stem(name)
		.replace(/[,:<>]/g, '_')
		.trim();
	for (let n = 1; ; n++) {
		const next = n === 1 ? plain : `${plain}-${n}`;
		if (!taken.includes(next)) return next;
	}
}

class Merge {
	parts = $state.raw<Part[]>([]);
	method = $state<MergeMethod>('svd');
	kind = $state<DimensionKind>('fixed');
	rank = $state(8);
	/** Share of Σσ². */
	keep = $state(0.99);
	/** 3×3 kernels get a dimension of their own. */
	ownConv = $state(false);
	convRank = $state(4);
	precision = $state<MergePrecision>('f16');
	outcomes = $state.raw<Outcome[]>([]);
	reading = $state(false);
	#name = $state('');
	/** What is being typed as text, while it does not read. */
	typed = $state<string | null>(null);
	typedProblem = $state.raw<MergeGrammarError | null>(null);
	/** Names in the text that no LoRA here has. */
	typedUnknown = $state.raw<string[]>([]);

	get family(): LibraryEntry['family'] | null {
		return this.parts[0]?.family ?? null;
	}

	/** Parts made for another model than the first. */
	get strangers(): Part[] {
		return this.parts.filter(({ family }) => family !== this.family);
	}

	/** The family whose blocks the weights are for. */
	get blocksOf(): ModelFamily {
		const { family } = this;
		return family === null || family === 'unknown' ? 'sd15' : family;
	}

	/** The file's stem: as typed, else made of its parts. */
	get name(): string {
		return this.#name || this.proposal;
	}
	set name(value: string) {
		this.#name = value === this.proposal ? '' : value;
	}

	get proposal(): string {
		const [first, ...others] = this.parts;
		if (!first) return 'merge';
		if (others.length === 0) return `${first.name}-merged`;
		return (others.length === 1 ? this.parts.map(({ name }) => name).join('+') : `${first.name}+${others.length}`).slice(0, 100);
	}

	get nameProblem(): ReturnType<typeof nameProblem> {
		return nameProblem(this.name);
	}

	get settings(): MergeSettings {
		const dimension: Dimension =
			this.kind === 'fixed' ? { kind: 'fixed', rank: this.rank } : this.kind === 'auto' ? { kind: 'auto' } : { kind: 'energy', keep: this.keep };
		return {
			name: this.name.trim(),
			method: this.method,
			dimension,
			convDimension: this.ownConv ? { kind: 'fixed', rank: this.convRank } : null,
			precision: this.precision,
			parts: this.parts.map(({ name, ratio, blocks }) => ({ name, ratio, blocks }))
		};
	}

	/** The same in SuperMerger's words. */
	get text(): string {
		return this.typed ?? (this.parts.length === 0 ? '' : printMergeParts(this.parts));
	}

	set(id: string, change: Partial<Pick<Part, 'ratio' | 'blocks'>>): void {
		this.parts = this.parts.map((part) => (part.id === id ? { ...part, ...change } : part));
		this.#settled();
	}

	setAll(ratio: number): void {
		this.parts = this.parts.map((part) => ({ ...part, ratio }));
		this.#settled();
	}

	remove(id: string): void {
		this.parts = this.parts.filter((part) => part.id !== id);
		this.#settled();
	}

	#settled(): void {
		this.typed = null;
		this.typedProblem = null;
		this.typedUnknown = [];
	}

	async add(ids: readonly string[]): Promise<void> {
		const wanted = ids.filter((id) => !this.parts.some((part) => part.id === id));
		if (wanted.length === 0) return;
		await shelf.attempt(async () => {
			const kept = await library();
			const entries = await kept.list();
			for (const id of wanted) {
				const entry = entries.find((known) => known.id === id);
				// A link may name what has been deleted since; asked for twice at once, it comes once.
				if (!entry || this.parts.some((part) => part.id === id)) continue;
				const blob = await kept.read(id);
				const sum = entry.sha256 || (await sha256(blob));
				if (this.parts.some((part) => part.id === id)) continue;
				const name = partName(
					entry.name,
					this.parts.map((part) => part.name)
				);
				this.parts = [...this.parts, { id, name, ratio: FIRST_RATIO, blocks: null, sha256: sum, blob, family: entry.family, bytes: entry.bytes }];
			}
			this.#settled();
		});
	}

	async drop(files: readonly File[]): Promise<void> {
		if (this.reading || files.length === 0) return;
		this.reading = true;
		this.outcomes = [];
		try {
			await importFiles(files, (outcome) => (this.outcomes = [...this.outcomes, outcome]));
			await this.add(this.outcomes.flatMap((outcome) => (outcome.kind === 'added' || outcome.kind === 'known' ? [outcome.entry.id] : [])));
		} finally {
			this.reading = false;
		}
	}

	/** What was typed becomes the merge, when it reads: ratios and weights of known parts, LoRAs of the library by name, the rest leaves. */
	async type(text: string): Promise<void> {
		this.typed = text;
		this.typedProblem = null;
		let given: MergePart[];
		try {
			given = parseMergeParts(text);
		} catch (error) {
			if (!(error instanceof MergeGrammarError)) throw error;
			this.typedProblem = error;
			return;
		}
		const entries = shelf.entries ?? [];
		const found = given.map((part) => ({
			part,
			id: this.parts.find(({ name }) => name === part.name)?.id ?? entries.find((entry) => stem(entry.name) === stem(part.name))?.id
		}));
		const missing = found.filter(({ id }) => id === undefined).map(({ part }) => part.name);
		this.typedUnknown = missing;
		if (missing.length > 0) return;
		await this.add(found.flatMap(({ id }) => id ?? []));
		if (this.typed !== null && this.typed !== text) return; // more was typed meanwhile
		this.parts = found.flatMap(({ id, part }) => {
			const known = this.parts.find((own) => own.id === id);
			return known ? [{ ...known, ratio: part.ratio, blocks: part.blocks }] : [];
		});
		this.typed = text;
	}

	/** Leaving the field: text that reads is written as this program writes it. */
	settle(): void {
		if (!this.typedProblem && this.typedUnknown.length === 0) this.typed = null;
	}

	preset(id: string, name: string): void {
		const weights = blockWeights(name);
		if (weights !== undefined) this.set(id, { blocks: weights });
	}

	/** Whether a part has exactly these weights. */
	has(part: Part, name: string): boolean {
		const weights = blockWeights(name);
		return weights !== undefined && sameBlocks(weights, part.blocks);
	}
}

export const merge = new Merge();
