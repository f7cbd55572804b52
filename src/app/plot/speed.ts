/** How fast this browser drew last time, to say how long a plot will take. One number per model family: seconds for one step of one cell. */
import type { ModelFamily } from '../../recipe/recipe';

const KEY = 'utsushi.secondsPerCellStep.';

export function rememberSpeed(family: ModelFamily, seconds: number): void {
	try {
		if (seconds > 0) localStorage.setItem(KEY + family, String(seconds));
	} catch {
		// storage blocked: no estimate next time
	}
}

/** null when nothing was measured here yet. */
export function expectedSeconds(family: ModelFamily, steps: number, cells: number): number | null {
	try {
		const value = Number(localStorage.getItem(KEY + family));
		return value > 0 ? value * steps * cells : null;
	} catch {
		return null;
	}
}
