/**
 * The trainer's side of a merge: looks into the files once, says what the current settings would keep whenever the hand rests, and makes the file.
 * A result goes to the library at once, with its parents.
 */
import { effectOf } from '../../recipe/merge-advice';
import type { Problem, ReplyOf } from '../../service/protocol';
import type { LibraryEntry, LoraParent } from '../../storage/library';
import { newId } from '../id';
import { library, readMetadata } from '../library/keep';
import { freeName } from '../library/names';
import { asStorageProblem } from '../library/problem';
import { shelf } from '../library/shelf.svelte';
import { toProblem, trainer } from '../train/trainer.svelte';
import { merge, type Part } from './merge.svelte';
import { preview } from './preview.svelte';

type Comparison = ReplyOf['compareLoras'];
type Report = ReplyOf['merge']['report'];

/** A report costs more than a picture's first step: it waits for a longer rest. */
const REST_MS = 500;

export interface MergeResult {
	entry: LibraryEntry;
	/** "8" or "2–8". */
	ranks: string;
	kept: number | null;
	warnings: Problem[];
}

function ranksText(ranks: Readonly<Record<string, number>>): string {
	const all = Object.keys(ranks).map(Number);
	const [least, most] = [Math.min(...all), Math.max(...all)];
	return least === most ? String(least) : `${least}–${most}`;
}

class Engine {
	/** Making the file. */
	busy = $state(false);
	problem = $state.raw<Problem | null>(null);
	result = $state.raw<MergeResult | null>(null);
	/** Of the files as they are, independent of ratios. */
	comparison = $state.raw<Comparison | null>(null);
	lookProblem = $state.raw<Problem | null>(null);
	/** What the settings would give. */
	report = $state.raw<Report | null>(null);
	#compared = '';
	#asked = '';
	#timer: ReturnType<typeof setTimeout> | undefined;
	#run: string | null = null;

	/** How strong the merge is, in strengths of one of its parts; null until the files have been looked into. */
	get effect(): number | null {
		return this.comparison && this.comparison.products.length === merge.parts.length
			? effectOf(
					this.comparison.products,
					merge.parts.map(({ ratio }) => ratio)
				)
			: null;
	}

	/** Looks into the files, unless it was these that were looked into. */
	async compare(parts: readonly Part[]): Promise<void> {
		const key = parts.map(({ sha256 }) => sha256).join();
		if (key === this.#compared) return;
		this.#compared = key;
		this.comparison = null;
		this.lookProblem = null;
		this.report = null;
		try {
			const comparison = await trainer.request({ type: 'compareLoras', files: parts.map(({ name, blob }) => ({ name, bytes: blob })) });
			if (this.#compared === key) this.comparison = comparison;
		} catch (error) {
			if (this.#compared === key) this.lookProblem = toProblem(error, 'merge');
		}
	}

	/** Asks what the current settings would give, soon. */
	ask(): void {
		const { settings, parts } = merge;
		const key = JSON.stringify([settings, parts.map(({ sha256 }) => sha256)]);
		if (key === this.#asked) return;
		this.#asked = key;
		clearTimeout(this.#timer);
		this.#cancel();
		if (parts.every(({ ratio }) => ratio === 0)) {
			this.report = null;
			return;
		}
		this.#timer = setTimeout(() => void this.#report(key), REST_MS);
	}

	async #report(key: string): Promise<void> {
		if (this.busy) return;
		const run = newId();
		this.#run = run;
		try {
			const { report } = await trainer.request({ type: 'merge', run, request: this.#request() });
			if (this.#asked === key) [this.report, this.lookProblem] = [report, null];
		} catch (error) {
			if (this.#asked === key && !this.busy) [this.report, this.lookProblem] = [null, toProblem(error, 'merge')];
		} finally {
			if (this.#run === run) this.#run = null;
		}
	}

	#request() {
		return { settings: merge.settings, files: merge.parts.map(({ blob }) => blob) };
	}

	#cancel(): void {
		if (this.#run !== null) void trainer.request({ type: 'cancel', run: this.#run }).catch(() => undefined);
	}

	/** Forgets what was asked, so that coming back to the screen asks again. */
	stop(): void {
		clearTimeout(this.#timer);
		this.#cancel();
		this.#asked = '';
	}

	/** Makes the file and keeps it. */
	async merge(): Promise<void> {
		if (this.busy) return;
		this.busy = true;
		this.problem = null;
		this.result = null;
		clearTimeout(this.#timer);
		this.#cancel();
		preview.stop();
		const { parts, settings } = merge;
		try {
			const { file, report } = await trainer.request({ type: 'merge', run: newId(), request: this.#request() });
			this.report = report;
			const entry = await keep(file, report.family, settings.name, parts);
			this.result = { entry, ranks: ranksText(report.ranks), kept: report.kept, warnings: report.problems };
		} catch (error) {
			const stored = typeof error === 'object' && error !== null && 'name' in error && error.name === 'StorageError';
			this.problem = stored ? asStorageProblem(error) : toProblem(error, 'merge');
		} finally {
			this.busy = false;
			// The preview stood aside for the merge.
			merge.parts = [...merge.parts];
		}
	}
}

async function keep(file: ArrayBuffer, family: LibraryEntry['family'], name: string, parts: readonly Part[]): Promise<LibraryEntry> {
	const kept = await library();
	const entries = await kept.list();
	const parents: LoraParent[] = parts.map(({ id, sha256, ratio, blocks }) => ({
		name: entries.find((entry) => entry.id === id)?.name ?? '',
		ratio,
		...(blocks === null ? {} : { blocks }),
		sha256,
		id
	}));
	const source = parts.flatMap(({ id }) => entries.find((entry) => entry.id === id) ?? []);
	const bases = new Set(source.map(({ baseModel }) => baseModel));
	const entry = await kept.add(
		{
			name: freeName(
				name,
				entries.map((known) => known.name)
			),
			role: 'merged',
			run: '',
			step: 0,
			family,
			recipe: null,
			metadata: readMetadata(file),
			previews: [],
			parents,
			// What all of them share is true of the merge as well.
			tags: (source[0]?.tags ?? []).filter((tag) => source.every(({ tags }) => tags.includes(tag))),
			trigger: [...new Set(source.map(({ trigger }) => trigger).filter((trigger) => trigger !== ''))].join(', '),
			baseModel: bases.size === 1 ? ([...bases][0] ?? '') : ''
		},
		file
	);
	await shelf.read();
	return entry;
}

export const engine = new Engine();
