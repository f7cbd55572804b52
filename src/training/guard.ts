/**
 * The divergence guard: decides from a pass's own numbers that training has gone wrong, and whether to go back with a lower rate or to stop. Pure: no clock, no GPU, so that
 * the same recipe on the same device decides alike, and a resumed run like an uninterrupted one. What it decides is carried out by `guard-driver.ts`.
 *
 * Rules, looked at every few steps, on numbers that lie one such stretch back (so that nobody waits for the GPU):
 * - `notFinite`: three losses in a row, or more than half of the stretch's gradients, were not finite. (The loss scale starts high on purpose: the first few skipped
 *   steps are its search, and are allowed for.)
 * - `loss`: the median of the last eight of loss / expected is above `hopeless` (2.5 … 6): the network does far worse than none. Expected is what a network that does nothing has at
 *   the same timesteps: a raw loss says more of its timestep than of the network (they differ a hundredfold). Without timesteps, the median of the first steps stands in, and
 *   the limit is 20. Once half of the pass's learning rate is spent, the limit is 2.5: good runs overshoot while the rate is high, but are back by then; what is left of the rate no longer saves one that
 *   is not (mini model, two and a half times the usual rate: four to nine times the base at three quarters, twice at the end, where the usual rate ends at half).
 * - `loss` too: that median lies above the median of the last healthy stretch by 8 robust deviations of it and by a factor of 4, at two looks in a row.
 * - `norm`: the norm of all factors is not finite or grew more than 1.4-fold from one look to the next. In ten steps of healthy runs it never grew more than 1.13-fold, with ten
 *   times the rate 1.6 to 4.7-fold where the run broke (test/fixtures/judgement).
 * - `probe`: the probe says "collapsed".
 * Each rollback halves the rate; after the recipe's number of them the next alarm stops the pass.
 */
import type { GuardReason, ProbeVerdict } from './events';
import { hopeless } from './verdict';

export interface GuardState {
	/** On the recipe's rate. */
	readonly factor: number;
	readonly rollbacks: number;
	/** ln(loss / expected) of the steps since the last rollback, the latest `MEMORY` of them. */
	readonly window: readonly number[];
	/** Losses in a row that were not finite. */
	readonly broken: number;
	readonly skipped: number;
	readonly norm: number | null;
	/** Median ln(loss) of the pass's first steps; null until there are enough. Only without timesteps. */
	readonly start: number | null;
	/** The last look found the loss risen. */
	readonly risen: boolean;
}

export interface GuardReading {
	/** Of the steps since the last look, in order. `expected` undefined: not known. */
	readonly losses: readonly { readonly loss: number; readonly expected: number | undefined }[];
	/** Mean base loss of the pass, for the limit; undefined: not known. */
	readonly base: number | undefined;
	/** Steps skipped so far in the whole pass. */
	readonly skipped: number;
	/** Of all factors; undefined: not measured. */
	readonly norm: number | undefined;
	readonly verdict: ProbeVerdict;
	/** Share of the pass's learning rate that those steps and all before them have spent, 0…1. */
	readonly spent: number;
}

export interface Alarm {
	readonly reason: GuardReason;
	readonly value: number;
	readonly limit: number;
}

const RECENT = 8;
const MEMORY = 72;
const NEEDED = 24;
const FIRST = 3;
const BLIND_LIMIT = 20;
const LATE = 0.5;
const LATE_LIMIT = 2.5;
/** Above so many times what a network that does nothing has, a state is not worth going back to. */
const WORSE = 1.5;
const SEARCH = 8;
const RISE_DEVIATIONS = 8;
const RISE_FACTOR = 4;
const GROWTH = 1.4;
const BROKEN = 3;

export function newGuard(): GuardState {
	return { factor: 1, rollbacks: 0, window: [], broken: 0, skipped: 0, norm: null, start: null, risen: false };
}

/** Steps between two looks: ten, fewer in a short pass. */
export function lookEvery(iterations: number): number {
	return Math.min(10, Math.max(2, Math.floor(iterations / 12)));
}

export function median(values: readonly number[]): number {
	const sorted = [...values].sort((a, b) => a - b);
	const middle = sorted.length >> 1;
	return sorted.length % 2 === 1 ? (sorted[middle] ?? NaN) : ((sorted[middle - 1] ?? NaN) + (sorted[middle] ?? NaN)) / 2;
}

/** Standard deviation from the median of absolute deviations; 1.4826 makes it right for normal numbers. */
function spread(values: readonly number[]): number {
	const middle = median(values);
	return 1.4826 * median(values.map((value) => Math.abs(value - middle)));
}

/** The guard after one look, and what it found. */
export function look(state: GuardState, reading: GuardReading): { state: GuardState; alarm: Alarm | null } {
	let { broken, start } = state;
	const window = [...state.window];
	let worstBroken = 0;
	for (const { loss, expected } of reading.losses) {
		broken = Number.isFinite(loss) ? 0 : broken + 1;
		worstBroken = Math.max(worstBroken, broken);
		if (Number.isFinite(loss) && loss > 0) window.push(Math.log(loss) - Math.log(expected !== undefined && expected > 0 ? expected : 1));
	}
	window.splice(0, window.length - MEMORY);
	const known = reading.losses.every(({ expected }) => expected !== undefined);
	if (!known && start === null && window.length >= FIRST) start = median(window.slice(0, FIRST));
	const fresh = reading.skipped - state.skipped;
	const norm = reading.norm ?? null;
	const risen = hasRisen(window);
	const next: GuardState = { ...state, window, broken, start, skipped: reading.skipped, norm, risen: risen !== null };

	const allowed = reading.losses.length / 2 + (state.skipped < SEARCH && state.rollbacks === 0 ? SEARCH : 0);
	if (worstBroken >= BROKEN || fresh > allowed) return { state: next, alarm: { reason: 'notFinite', value: Math.max(worstBroken, fresh), limit: BROKEN } };
	if (norm !== null && (!Number.isFinite(norm) || (state.norm !== null && state.norm > 0 && norm > GROWTH * state.norm)))
		return { state: next, alarm: { reason: 'norm', value: norm / (state.norm ?? norm), limit: GROWTH } };
	const limit = known ? (reading.spent >= LATE ? LATE_LIMIT : hopeless(reading.base ?? 0)) : BLIND_LIMIT;
	const level = Math.exp(median(window.slice(-RECENT)) - (known ? 0 : (start ?? NaN)));
	if (window.length >= Math.min(RECENT, reading.losses.length * 2) && level > limit) return { state: next, alarm: { reason: 'loss', value: level, limit } };
	if (risen && state.risen) return { state: next, alarm: { reason: 'loss', ...risen } };
	if (reading.verdict === 'collapsed') return { state: next, alarm: { reason: 'probe', value: level, limit } };
	return { state: next, alarm: null };
}

/** Whether the network is one to go back to: not clearly worse than none. Where it is not known what to expect, any is that raised no alarm. */
export function worthKeeping(state: GuardState): boolean {
	return state.start !== null || state.window.length === 0 || Math.exp(median(state.window.slice(-RECENT))) <= WORSE;
}

/** Whether the latest losses stand out from those before them; by which factor and what would have been allowed. */
function hasRisen(window: readonly number[]): { value: number; limit: number } | null {
	if (window.length < NEEDED + RECENT) return null;
	const before = window.slice(0, -RECENT);
	const rise = median(window.slice(-RECENT)) - median(before);
	const limit = Math.max(Math.log(RISE_FACTOR), (RISE_DEVIATIONS * spread(before)) / Math.sqrt(RECENT));
	return rise > limit ? { value: Math.exp(rise), limit: Math.exp(limit) } : null;
}

/** After going back: the rate halves and the numbers of the abandoned steps are forgotten. `norm` is that of the state gone back to; unknown: null. */
export function afterRollback(state: GuardState, norm: number | null): GuardState {
	return { ...newGuard(), start: state.start, skipped: state.skipped, factor: state.factor / 2, rollbacks: state.rollbacks + 1, norm };
}
