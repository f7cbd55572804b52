/** Names of files in the library: what is refused, and what a second file of the same name is called. Pure. */
import { stem } from './lineage';

const LONGEST = 120;

export type NameProblem = 'empty' | 'characters' | 'long';

/** null: good. `name` without or with its ending. */
export function nameProblem(name: string): NameProblem | null {
	const bare = stem(name).trim();
	if (bare === '') return 'empty';
	if (/[/\\:*?"<>|\p{Cc}]/u.test(bare) || bare.startsWith('.')) return 'characters';
	return bare.length > LONGEST ? 'long' : null;
}

/** `a`, with a.safetensors taken → `a-2.safetensors`. */
export function freeName(name: string, taken: readonly string[]): string {
	const used = new Set(taken.map((other) => stem(other).toLowerCase()));
	const bare = stem(name).trim();
	for (let n = 1; ; n++) {
		const next = n === 1 ? bare : `${bare}-${n}`;
		if (!used.has(next.toLowerCase())) return `${next}.safetensors`;
	}
}
