/**
 * Carries out what the guard (`guard.ts`) decides: gathers its numbers without holding the loop up, keeps good states on the GPU, and brings one back.
 *
 * Rules
 * - At every look the numbers asked for at the last one are judged, then new ones are asked for: norm, skipped steps, losses. So nothing waits, and what is judged depends
 *   on the step alone.
 * - Two copies of factors and optimizer state are kept (`kernels/backup.ts` says where): the good one, and a newer candidate. The candidate becomes the good one when two looks after it have been calm;
 *   a new candidate is taken five looks after the last, if the network is not clearly worse than none then. So a state in which the trouble had already begun is not taken for good.
 * - Going back restores factors, optimizer, loss scale and step; draws and schedule are functions of the step, so the pass goes on as if it had had the lower rate from there.
 * - The state goes into snapshots with both copies, so that a resumed run would go back to the same place. Networks whose copies are larger than `MOST_KEPT` bytes leave them out;
 *   then the snapshot itself is the good state.
 */
import type { Gpu } from '../gpu/gpu';
import { backupBytes, FactorBackup } from '../kernels/backup';
import { createNormMeter, normBytes } from '../kernels/factor-norm';
import type { NormMeter } from '../kernels/factor-norm';
import type { FactorStore } from '../kernels/factors';
import type { GuardSettings } from '../recipe/recipe';
import { awaitedLater } from './awaited-later';
import type { PassName, TrainingEvent } from './events';
import { afterRollback, look, lookEvery, newGuard, worthKeeping } from './guard';
import type { Alarm, GuardState } from './guard';
import type { LossReporter } from './loss-reporter';
import type { LossScaler, ScalerState } from './loss-scale';
import type { Objective } from './objective';
import type { Observer } from './observer';

const CONFIRM = 2;
const RENEW = 5;
const MOST_KEPT = 64 << 20;

/** GPU bytes of the guard. @param state factors and optimizer state, without gradients @param elements of the factor store @param limit largest binding in bytes */
export function guardBytes(settings: GuardSettings, state: number, elements: number, limit: number): number {
	return settings.action === 'off' ? 0 : 2 * backupBytes(state) + normBytes(elements, limit);
}

/** What the guard takes of the GPU. */
export class GuardMemory {
	private constructor(
		readonly meter: NormMeter,
		readonly copies: readonly [FactorBackup, FactorBackup]
	) {}

	/** undefined when the recipe turns the guard off. @throws GpuError 'memory' when its copies do not fit */
	static async create(gpu: Gpu, store: FactorStore, settings: GuardSettings): Promise<GuardMemory | undefined> {
		if (settings.action === 'off') return undefined;
		return new GuardMemory(await createNormMeter(gpu, store), [await FactorBackup.create(gpu, store), await FactorBackup.create(gpu, store)]);
	}

	get bytes(): number {
		return this.copies.reduce((sum, copy) => sum + backupBytes(copy.size), this.meter.bytes);
	}

	destroy(): void {
		this.meter.destroy();
		for (const copy of this.copies) copy.destroy();
	}
}

interface Kept {
	readonly step: number;
	readonly scaler: ScalerState;
	readonly norm: number | null;
}

/** A copy with its bytes, for snapshots. */
interface Saved extends Kept {
	readonly bytes: readonly Uint8Array[];
}

export interface GuardSnapshot {
	readonly state: GuardState;
	readonly seen: number;
	readonly asked: { readonly step: number; readonly norm: number; readonly skipped: number } | null;
	readonly good: Saved | null;
	readonly candidate: Saved | null;
}

export interface GuardParts {
	readonly memory: GuardMemory;
	readonly settings: GuardSettings;
	readonly iterations: number;
	readonly pass: PassName;
	readonly objective: Objective;
	readonly observer: Observer;
	readonly scaler: LossScaler;
	readonly reporter: LossReporter;
	readonly skipped: () => Promise<number>;
	readonly emit: (event: TrainingEvent) => void;
}

export type GuardOutcome = { readonly action: 'go' } | { readonly action: 'rollback' | 'stop'; readonly to: number };

export class GuardDriver {
	#state: GuardState = newGuard();
	/** Losses judged so far. */
	#seen = 0;
	#asked: { step: number; norm: Promise<number>; skipped: Promise<number> } | undefined;
	#good: Kept;
	#candidate: Kept | undefined;
	#goodCopy: FactorBackup;
	#candidateCopy: FactorBackup;
	readonly #every: number;

	constructor(private readonly parts: GuardParts) {
		this.#every = lookEvery(parts.iterations);
		this.#good = { step: 0, scaler: parts.scaler.state, norm: null };
		[this.#goodCopy, this.#candidateCopy] = parts.memory.copies;
	}

	/** On the recipe's learning rate. */
	get factor(): number {
		return this.#state.factor;
	}

	/** The pass begins at this step: what it starts with is good. */
	begin(step: number): void {
		this.#seen = step;
		this.#goodCopy.take();
		this.#good = { step, scaler: this.parts.scaler.state, norm: null };
	}

	/** Between two steps, k done: looks when it is time. The caller goes on at the step it is sent to. */
	async after(k: number): Promise<GuardOutcome> {
		const last = k === this.parts.iterations;
		if (!last && k % this.#every !== 0) return { action: 'go' };
		let alarm = await this.#judge();
		if (last && !alarm) {
			// There is no later look, so this one waits for its numbers.
			this.#ask(k);
			alarm = await this.#judge();
		}
		if (alarm) return this.#act(k, alarm);
		this.#keep(k);
		if (!last) this.#ask(k);
		return { action: 'go' };
	}

	/** Everything is queued and noted when this returns. */
	capture(): Promise<GuardSnapshot> {
		const [state, seen, asked] = [this.#state, this.#seen, this.#asked];
		const whole = this.#goodCopy.size <= MOST_KEPT;
		const saved = async (kept: Kept | undefined, copy: FactorBackup): Promise<Saved | null> => (kept && whole ? { ...kept, bytes: await copy.read() } : null);
		const parts = Promise.all([asked?.norm, asked?.skipped, saved(this.#good, this.#goodCopy), saved(this.#candidate, this.#candidateCopy)]);
		return parts.then(([norm, skipped, good, candidate]) => ({
			state,
			seen,
			asked: asked && norm !== undefined && skipped !== undefined ? { step: asked.step, norm, skipped } : null,
			good,
			candidate
		}));
	}

	/** Instead of `begin`, when a pass is taken up; its factors are in the store already. */
	restore({ state, seen, asked, good, candidate }: GuardSnapshot, step: number): void {
		this.begin(step);
		this.#state = state;
		this.#seen = seen;
		this.#asked = asked ? { step: asked.step, norm: Promise.resolve(asked.norm), skipped: Promise.resolve(asked.skipped) } : undefined;
		if (!good) return;
		this.#goodCopy.write(good.bytes);
		this.#good = { step: good.step, scaler: good.scaler, norm: good.norm };
		if (!candidate) return;
		this.#candidateCopy.write(candidate.bytes);
		this.#candidate = { step: candidate.step, scaler: candidate.scaler, norm: candidate.norm };
	}

	#ask(k: number): void {
		const { memory, reporter, skipped } = this.parts;
		reporter.ask();
		this.#asked = { step: k, norm: awaitedLater(memory.meter.measure()), skipped: awaitedLater(skipped()) };
	}

	/** What was asked for at the last look. */
	async #judge(): Promise<Alarm | null> {
		const asked = this.#asked;
		if (!asked) return null;
		this.#asked = undefined;
		const { objective, observer, reporter } = this.parts;
		const [norm, skipped, known] = [await asked.norm, await asked.skipped, await reporter.known(asked.step)];
		const losses = known.slice(this.#seen).map((loss, i) => {
			const timesteps = objective.timesteps?.(this.#seen + i);
			return { loss, expected: timesteps && observer.expected(timesteps) };
		});
		this.#seen = asked.step;
		const found = look(this.#state, { losses, base: observer.base, skipped, norm, verdict: observer.verdict, spent: observer.spent(asked.step) });
		this.#state = found.state;
		return found.alarm;
	}

	/** The candidate has stood the test, or a new one is due. */
	#keep(k: number): void {
		const candidate = this.#candidate;
		if (candidate && this.#seen >= candidate.step + CONFIRM * this.#every) {
			[this.#goodCopy, this.#candidateCopy] = [this.#candidateCopy, this.#goodCopy];
			this.#good = candidate;
			this.#candidate = undefined;
		}
		if (!this.#candidate && k >= this.#good.step + RENEW * this.#every && worthKeeping(this.#state)) {
			this.#candidateCopy.take();
			this.#candidate = { step: k, scaler: this.parts.scaler.state, norm: this.#state.norm };
		}
	}

	async #act(k: number, { reason, value, limit }: Alarm): Promise<GuardOutcome> {
		const { settings, reporter, observer, scaler, pass, emit } = this.parts;
		const { step: to, scaler: scale, norm } = this.#good;
		await reporter.flush();
		await this.#goodCopy.bring();
		const action = settings.action === 'rollback' && this.#state.rollbacks < settings.rollbacks ? 'rollback' : 'stop';
		this.#asked = undefined;
		this.#candidate = undefined;
		this.#seen = to;
		this.#state = { ...afterRollback(this.#state, norm), skipped: scale.skipped };
		scaler.restore(scale);
		reporter.rewind(to);
		observer.rewind(to);
		emit({ type: 'guard', pass, step: k, action, reason, to, factor: this.#state.factor, value, limit });
		return { action, to };
	}
}
