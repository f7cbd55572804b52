/**
 * What a pass will probably do, judged before it runs: nothing, too little, or collapse. Pure; every number has its source, and nothing is forbidden by it.
 *
 * The measure is the way the weights can go: rate × alpha/rank × steps × the schedule's mean (cosine: a half). With sign-like and Adam-like optimizers every step has about the
 * size of the rate, so this is close to how far the trained change gets. It is compared with passes of the same kind that are known to work (the presets and the sweep below).
 *
 * Sources
 * - Too short a way, mini model, 300 steps and fewer (its reference results, sweep): Lion 1e-4 × 300 and 2e-4 × 150 change nothing visible where 3e-4 × 300 does: a third of the way. AdamW
 *   5e-4 × 300 is a third of 3e-3 × 150 and still opens 67 % of the mouths; ADDifT AdamW 2e-3 × 30 is a third of 2e-3 × 100 and changes nothing. So: under 0.35 weak, under 0.15 none.
 * - Too large a rate, mini model (test/fixtures/judgement): ten times the usual rate breaks copiers of AdamW and Lion within twenty steps. Full-size, one user's month: at rank 16, 5e-4
 *   holds and 8.5e-4 breaks by step 1000, where 5e-5 is usual. So: above 8 times a collapse is to be expected, above 4 it is a risk.
 * - Steps are drops of water, the rank is the vessel (the same user): a larger rank needs more steps for the same effect, too many drops overflow.
 * - Lion wants rates 3 to 10 times smaller than AdamW (Chen et al. 2023, section 5): 5 between them where only one is known.
 */
import { presetsFor } from './presets';
import type { Mode, ModelFamily, OptimizerKind, PassSettings } from './recipe';
import { learningRateAt } from './rates';

export interface PassAdvice {
	readonly kind: 'noEffect' | 'weak' | 'collapse' | 'risky' | 'vessel' | 'overflow';
	/** Field of the pass it concerns. */
	readonly field: 'learningRate' | 'alpha' | 'iterations' | 'rank';
	/** `rate`, `steps`: what would be usual. `times`: own way or rate by the usual. */
	readonly values: { readonly rate: number; readonly steps: number; readonly times: number; readonly rank: number };
}

/** A pass that is known to work. */
interface Known {
	readonly rate: number;
	readonly way: number;
	readonly rank: number;
	readonly steps: number;
}

const LION_TO_ADAM = 5;
const NONE = 0.15;
const WEAK = 0.35;
const RISKY = 4;
const COLLAPSE = 8;
const OVERFLOW = 12;

/** ADDifT on the mini model: AdamW 5e-3 × 30 and 2e-3 × 100, Lion 1e-3 × 60 (its reference results). */
const ADDIFT: Readonly<Partial<Record<ModelFamily, Record<'sign' | 'adam', Known>>>> = {
	mini: { adam: { rate: 2e-3, way: 0.1, rank: 4, steps: 100 }, sign: { rate: 1e-3, way: 0.03, rank: 4, steps: 60 } }
};

/** Whose steps have the size of the rate. Others (SGD, Adafactor, those that find their own rate) cannot be judged so. */
function family(kind: OptimizerKind): 'sign' | 'adam' | undefined {
	if (kind === 'lion' || kind === 'tiger') return 'sign';
	return kind === 'adamw' || kind === 'adam' || kind === 'scheduleFreeAdamW' || kind === 'came' ? 'adam' : undefined;
}

/** Longest pass whose schedule is added up step by step; the mean of longer ones is taken at so many places. */
const PLACES = 200;

function meanRate({ learningRate, iterations, schedule }: PassSettings): number {
	const places = Math.min(PLACES, iterations);
	let sum = 0;
	for (let i = 0; i < places; i++) sum += learningRateAt(Math.floor((i * iterations) / places), learningRate, iterations, schedule);
	return sum / places;
}

/** How far the pass can take the weights. */
export function wayOf(settings: PassSettings): number {
	return meanRate(settings) * (settings.alpha / settings.rank) * settings.iterations;
}

function knownOf(model: ModelFamily, mode: Mode, pass: 'copier' | 'difference', kind: 'sign' | 'adam'): Known | undefined {
	if (mode === 'addift') return ADDIFT[model]?.[kind];
	if (mode !== 'difference') return undefined;
	const all = presetsFor(model).map((preset) => preset.passes[pass]);
	const of = (wanted: 'sign' | 'adam') => all.find(({ optimizer, convRank }) => family(optimizer.kind) === wanted && (pass === 'copier' || convRank === 0));
	const own = of(kind);
	const other = own ?? of(kind === 'sign' ? 'adam' : 'sign');
	if (!other) return undefined;
	const factor = own ? 1 : kind === 'adam' ? LION_TO_ADAM : 1 / LION_TO_ADAM;
	return { rate: factor * other.learningRate, way: factor * wayOf(other), rank: other.rank, steps: other.iterations };
}

const round = (value: number): number => Number(value.toPrecision(2));

/** What is to be said about a pass before it runs; empty when it looks like those that work, or when nothing is known. */
export function advisePass(model: ModelFamily, mode: Mode, pass: 'copier' | 'difference', settings: PassSettings): PassAdvice[] {
	const kind = family(settings.optimizer.kind);
	const known = kind && knownOf(model, mode, pass, kind);
	if (!known) return [];
	const scale = settings.alpha / settings.rank;
	const speed = (settings.learningRate * scale) / known.rate;
	const way = wayOf(settings) / known.way;
	const about = (times: number): PassAdvice['values'] => ({
		rate: round(known.rate / Math.min(1, scale)),
		steps: round((settings.iterations / Math.max(way, 1e-9)) * 1),
		times: round(times),
		rank: known.rank
	});
	if (speed > COLLAPSE) return [{ kind: 'collapse', field: 'learningRate', values: about(speed) }];
	const found: PassAdvice[] = [];
	if (speed > RISKY) found.push({ kind: 'risky', field: 'learningRate', values: about(speed) });
	if (way < WEAK)
		found.push({ kind: way < NONE ? 'noEffect' : 'weak', field: scale < 0.5 ? 'alpha' : speed < 0.5 ? 'learningRate' : 'iterations', values: about(way) });
	else if (way > OVERFLOW) found.push({ kind: 'overflow', field: 'iterations', values: about(way) });
	else if (settings.rank >= 4 * known.rank && settings.iterations <= known.steps && way < 1.5)
		found.push({ kind: 'vessel', field: 'rank', values: about(way) });
	return found;
}
