/**
 * Measured tiles for the trainer's GPU: brought back from an earlier session when the device opens, measured afresh when somebody asks. Without either the heuristic decides.
 */
import type { Gpu } from '../gpu/gpu';
import { measureTuning, rememberedTuning, rememberTuning, tuningKey } from '../kernels/tune';
import type { TuningCache } from '../kernels/tune';
import { tuningOf, useTuning } from '../kernels/tune-table';
import type { TunedClass } from '../kernels/tune-table';

/** No measurement goes on for much longer. */
const TUNE_SECONDS = 10;

/** What runs use most; tiles that are best for halves are near the best for f32 too. */
const STORAGE = 'f16';

export interface TuningReport {
	/** Sizes measured, with the tile that was best and the one the heuristic would take; empty: the heuristic decides everything. */
	classes: TunedClass[];
	seconds: number;
}

/** Where measurements are kept, and what besides the adapter they depend on: the browser, or Dawn's version. */
export interface TuningHome {
	readonly platform: string;
	readonly cache: TuningCache;
}

/** Takes up what was measured before. Never fails: a measurement is a help, not a need. */
export async function bringTuning(gpu: Gpu, home: TuningHome): Promise<void> {
	const tuning = await rememberedTuning(home.cache, tuningKey(gpu, STORAGE, home.platform)).catch(() => undefined);
	if (tuning) useTuning(gpu.device, tuning);
}

export function currentTuning(gpu: Gpu): TuningReport {
	const tuning = tuningOf(gpu.device);
	return { classes: [...(tuning?.classes ?? [])], seconds: tuning?.seconds ?? 0 };
}

/** Measures, uses and keeps the result; one that cannot be kept is used until the device closes. */
export async function measureHere(gpu: Gpu, home: TuningHome | undefined): Promise<TuningReport> {
	const key = tuningKey(gpu, STORAGE, home?.platform ?? '');
	useTuning(gpu.device, undefined);
	const tuning = await measureTuning(gpu, key, { budgetMs: TUNE_SECONDS * 1000, storage: STORAGE });
	useTuning(gpu.device, tuning);
	if (home) await rememberTuning(home.cache, tuning).catch(() => undefined);
	return currentTuning(gpu);
}
