/**
 * Files dropped into the library: each LoRA with what lies beside it, looked at by the trainer before anything is kept. Every file gets one line
 * of outcome in words; one that cannot be used never stops the others.
 */
import { parseRecipe } from '../../recipe/schema';
import type { Recipe } from '../../recipe/recipe';
import type { FileReport, Problem } from '../../service/protocol';
import type { LibraryDraft, LibraryEntry, StoredPreview } from '../../storage/library';
import { toProblem, trainer } from '../train/trainer.svelte';
import { library } from './keep';
import { freeName } from './names';
import { takePicture } from './pictures';
import { asStorageProblem } from './problem';
import { bundle, mergeInfo, readSideFile, type Bundle } from './side-files';
import { parentsIn, recipeTextIn, triggerIn, understand } from './understand';

export type Outcome =
	| { kind: 'added'; file: string; entry: LibraryEntry; facts: number; beside: string[]; warnings: Problem[] }
	/** The same bytes are there already. */
	| { kind: 'known'; file: string; entry: LibraryEntry }
	| { kind: 'refused'; file: string; reason: 'checkpoint' | 'other' | 'notLora' | 'alone' }
	| { kind: 'failed'; file: string; problem: Problem };

/** A LoRA beyond this is no LoRA; reading it whole would only fill the memory. */
const LARGEST_BYTES = 4 * 2 ** 30;

function recipeIn(metadata: Record<string, string>): Recipe | null {
	const text = recipeTextIn(metadata);
	if (text === undefined) return null;
	try {
		const parsed = parseRecipe(JSON.parse(text));
		return parsed.ok ? parsed.recipe : null;
	} catch {
		return null; // somebody wrote something else under that name; the raw list shows it
	}
}

async function sha256(bytes: ArrayBuffer): Promise<string> {
	return Array.from(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** The entry with exactly these bytes; older entries know no sum, so their size and then their bytes decide. */
async function known(bytes: ArrayBuffer, entries: readonly LibraryEntry[]): Promise<LibraryEntry | null> {
	const sum = await sha256(bytes);
	for (const entry of entries) {
		if (entry.bytes !== bytes.byteLength) continue;
		if (entry.sha256 !== '' ? entry.sha256 === sum : (await sha256(await (await (await library()).read(entry.id)).arrayBuffer())) === sum) return entry;
	}
	return null;
}

/** What is kept beside the bytes, from the file's own metadata and the files that came along. */
async function draftOf({ texts, pictures }: Bundle<File>, report: FileReport, name: string): Promise<{ draft: LibraryDraft; beside: string[] }> {
	const beside: string[] = [];
	const infos = [];
	for (const file of texts) {
		const info = readSideFile(await file.text());
		if (info) {
			infos.push(info);
			beside.push(file.name);
		}
	}
	const previews: StoredPreview[] = [];
	for (const file of pictures) {
		const png = await takePicture(file);
		if (png) {
			previews.push({ seed: -1, strength: 1, png, added: true });
			beside.push(file.name);
		}
	}
	const { metadata } = report;
	const info = mergeInfo(infos);
	const recipe = recipeIn(metadata);
	const facts = understand(metadata);
	const draft: LibraryDraft = {
		name,
		role: 'imported',
		run: '',
		step: 0,
		family: report.family,
		recipe,
		metadata,
		previews,
		parents: parentsIn(metadata),
		tags: info.tags ?? [],
		notes: info.notes ?? facts.find(({ key }) => key === 'description')?.value ?? '',
		trigger: info.trigger ?? triggerIn(metadata) ?? '',
		strength: info.strength ?? null,
		baseModel: info.baseModel ?? facts.find(({ key }) => key === 'baseModel')?.value ?? ''
	};
	return { draft, beside };
}

async function take(files: Bundle<File>): Promise<Outcome> {
	const { lora } = files;
	const file = lora.name;
	let report: FileReport;
	try {
		if (lora.size > LARGEST_BYTES) return { kind: 'refused', file, reason: 'checkpoint' };
		report = await trainer.request({ type: 'inspect', name: file, blob: lora });
	} catch (error) {
		return { kind: 'failed', file, problem: toProblem(error, file) };
	}
	if (report.kind === 'checkpoint') return { kind: 'refused', file, reason: 'checkpoint' };
	if (report.kind === 'other') return { kind: 'refused', file, reason: 'notLora' };
	try {
		const bytes = await lora.arrayBuffer();
		const shelf = await library();
		const entries = await shelf.list();
		const same = await known(bytes, entries);
		if (same) return { kind: 'known', file, entry: same };
		const name = freeName(
			file,
			entries.map((entry) => entry.name)
		);
		const { draft, beside } = await draftOf(files, report, name);
		const entry = await shelf.add(draft, bytes);
		return { kind: 'added', file, entry, facts: understand(report.metadata).length, beside, warnings: report.problems };
	} catch (error) {
		return { kind: 'failed', file, problem: asStorageProblem(error) };
	}
}

/** One file after the other, because each may be large. `onOutcome` is told as they come. */
export async function importFiles(files: readonly File[], onOutcome: (outcome: Outcome) => void): Promise<void> {
	const { bundles, rest } = bundle(files);
	for (const file of rest)
		onOutcome({ kind: 'refused', file: file.name, reason: /\.(json|civitai\.info|png|jpe?g|webp)$/i.test(file.name) ? 'alone' : 'other' });
	for (const one of bundles) onOutcome(await take(one));
}
