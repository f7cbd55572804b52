/** The library by run: what each run was for, with the files that came on its way. Pure. */
import type { LibraryEntry } from '../../storage/library';

export interface RunFiles {
	/** The result, or the newest file of a run that has none. */
	main: LibraryEntry;
	/** Everything else of the run, latest step first. */
	others: LibraryEntry[];
}

/** `entries` newest first; runs come in the order of their newest file. */
export function groupByRun(entries: readonly LibraryEntry[]): RunFiles[] {
	const runs = new Map<string, LibraryEntry[]>();
	for (const entry of entries) {
		// What was not made here has no run and stands alone.
		const key = entry.run || entry.id;
		const files = runs.get(key);
		if (files) files.push(entry);
		else runs.set(key, [entry]);
	}
	return [...runs.values()].flatMap((files) => {
		const main = files.find((entry) => entry.role === 'result') ?? files[0];
		if (!main) return [];
		return [{ main, others: files.filter((entry) => entry !== main).sort((a, b) => b.step - a.step) }];
	});
}
