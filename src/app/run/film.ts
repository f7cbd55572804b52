/**
 * Live previews in the order of a film: one series for each seed at each strength, all beginning with that seed's picture without the LoRA. Pure.
 */
import type { PreviewView } from './view';

export interface Series {
	readonly seed: number;
	readonly strength: number;
	/** In the order they were drawn. */
	readonly frames: readonly PreviewView[];
}

/** In the order in which they first appear; a seed of which there is nothing but the beginning is a series of its own. */
export function filmOf(previews: readonly PreviewView[]): Series[] {
	const first = previews.filter(({ step, strength }) => step === 0 || strength === 0);
	const later = previews.filter(({ step, strength }) => step !== 0 && strength !== 0);
	const series = new Map<string, { seed: number; strength: number; frames: PreviewView[] }>();
	for (const preview of later) {
		const { seed, strength } = preview;
		const key = `${seed}/${strength}`;
		const known = series.get(key) ?? { seed, strength, frames: first.filter((frame) => frame.seed === seed) };
		known.frames.push(preview);
		series.set(key, known);
	}
	const drawn = new Set(later.map(({ seed }) => seed));
	const waiting = first.filter(({ seed }) => !drawn.has(seed)).map((frame) => ({ seed: frame.seed, strength: frame.strength, frames: [frame] }));
	return [...series.values(), ...waiting];
}
