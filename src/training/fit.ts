/**
 * Fits the programs of a pass into the GPU's memory: plans them all, and where they would take too much, has the steps compute parts of the forward pass again instead of keeping them.
 *
 * Rules
 * - All programs of a pass share their arenas (`Arenas`), so what counts is the largest.
 * - As little as meets the limit is computed again. Results do not change, to the bit.
 * - How much memory a GPU has, WebGPU does not tell. Without a limit from the user the smallest usual card is taken that the run fits on, a gigabyte of it left to the screen and other
 *   programs: 8, 12, 16 or 24 GB. Who has more memory than that and says so trains faster by up to a third.
 * - What decodes previews is a guest in the arenas between steps: they are as large as its, too. Of its versions (quicker ones need more) the quickest that fits is taken; training is not made
 *   slower for a quicker one. Where none fits, the pass does without, and previews are decoded elsewhere.
 * - The estimate shown before a run and the run itself plan here, so they agree.
 */
import type { Graph, Op, Value } from '../graph/ir';
import { writesOf } from '../graph/operands';
import { chooseRepeats, repeatChosen } from '../graph/recompute';
import type { Choice } from '../graph/recompute';
import { Arenas } from '../kernels/arenas';
import { planProgram } from '../kernels/plan-program';
import type { Machine, ProgramPlan } from '../kernels/plan-program';
import type { StepGraph } from './objective';

const GIB = 2 ** 30;

/** What a run may take of usual cards. */
export const CARDS: readonly number[] = [8, 12, 16, 24].map((size) => (size - 1) * GIB);

export interface PassGraphs {
	readonly steps: readonly StepGraph[];
	/** Forward passes that probes and previews run. */
	readonly others: readonly Graph[];
}

/** Somebody else's program that runs between the steps, in their arenas. */
export interface Guest {
	readonly version: number;
	readonly arenas: readonly number[];
	/** Of what it holds besides. */
	readonly otherBytes: number;
}

/** The versions of a guest from 0 on, the quickest first; undefined behind the last. */
export type Guests = (version: number) => Promise<Guest | undefined>;

export interface PassFit {
	readonly steps: readonly ProgramPlan[];
	readonly others: readonly ProgramPlan[];
	/** Of the shared arenas. */
	readonly arenas: readonly number[];
	readonly arenaBytes: number;
	/** Inputs, parameters and rings of all programs. */
	readonly smallBytes: number;
	/** Who decodes previews in the arenas; undefined: there is none, or none fits. */
	readonly guest: Guest | undefined;
	/** What the pass takes of the GPU, all in all. */
	readonly totalBytes: number;
	/** What it was fitted to. */
	readonly limit: number;
	readonly fits: boolean;
	/** Work of the most expensive step by its work without anything computed twice. */
	readonly workRatio: number;
}

export interface FitOptions {
	readonly machine: Machine;
	/** A graph over the weights as they are stored (`asStored`). */
	readonly stored: (graph: Graph) => Graph;
	/** Bytes of weights, factors, optimizer and guard. */
	readonly otherBytes: number;
	/** Bytes the run may take in all; absent: the smallest usual card. */
	readonly limit: number | undefined;
	/** Absent: nobody needs the arenas between steps. */
	readonly guests?: Guests | undefined;
}

/** Choices for the graphs and budgets seen last: the search takes seconds at full size, and a run follows its estimate. */
const known = new Map<string, Choice>();
const KEPT = 32;

/** Tells graphs of different operations or shapes apart (FNV-1a). */
function fingerprint(graph: Graph): string {
	let hash = 0x811c9dc5;
	const take = (text: string): void => {
		for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
	};
	const value = ({ shape, dtype }: Value): void => take(`${shape.join('x')}${dtype} `);
	graph.ops.forEach((op: Op) => {
		take(op.type);
		writesOf(op).forEach(value);
	});
	return `${graph.ops.length} ${graph.values.length} ${hash >>> 0}`;
}

function choose(graph: Graph, budgetBytes: number, external: readonly Value[]): Choice {
	const key = `${fingerprint(graph)} ${budgetBytes}`;
	const choice = known.get(key) ?? chooseRepeats(graph, { budgetBytes, external });
	known.delete(key);
	known.set(key, choice);
	for (const old of known.keys()) {
		if (known.size <= KEPT) break;
		known.delete(old);
	}
	return choice;
}

/** Steps to hold back from what is computed again: the kernels' scratch is not part of the graph's plan. */
const ROUNDS = 3;

function fitStep(machine: Machine, { gradients, loss }: StepGraph, graph: Graph, plain: ProgramPlan, budget: number): ProgramPlan {
	let best = plain;
	let target = Math.max(0, Math.floor(budget));
	for (let round = 0; round < ROUNDS && best.arenaBytes > budget; round++) {
		const repeated = repeatChosen(graph, choose(graph, target, [...gradients.values()]));
		const plan = planProgram(machine, repeated, { gradients, history: [loss] });
		if (plan.arenaBytes >= best.arenaBytes) break;
		best = plan;
		// Half again as much as was missed.
		target = Math.max(0, Math.floor(target - 1.5 * (plan.arenaBytes - budget)));
	}
	return best;
}

/** Lets messages through: planning at full size takes seconds. */
const breathe = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

const total = (sizes: readonly number[]): number => sizes.reduce((a, b) => a + b, 0);

/** All versions, and last nobody. */
async function* guestsOf(guests: Guests | undefined): AsyncGenerator<Guest | undefined> {
	for (let version = 0; guests; version++) {
		const guest = await guests(version);
		if (!guest) break;
		yield guest;
	}
	yield undefined;
}

/** @throws GraphError when one value is larger than a buffer may be */
export async function fitPass(graphs: PassGraphs, { machine, stored, otherBytes, limit, guests }: FitOptions): Promise<PassFit> {
	const others = graphs.others.map((graph) => planProgram(machine, stored(graph)));
	const steps: { step: StepGraph; graph: Graph; plain: ProgramPlan }[] = [];
	for (const step of graphs.steps) {
		await breathe();
		const graph = stored(step.graph);
		steps.push({ step, graph, plain: planProgram(machine, graph, { gradients: step.gradients, history: [step.loss] }) });
	}
	const assemble = (plans: readonly ProgramPlan[], fitted: number, guest: Guest | undefined): PassFit => {
		const all = [...plans, ...others];
		const arenas = Arenas.sizes([...all.map(({ memory }) => memory.arenas), guest?.arenas ?? []]);
		const arenaBytes = total(arenas);
		const smallBytes = all.reduce((sum, plan) => sum + plan.smallBytes, 0);
		const totalBytes = otherBytes + arenaBytes + smallBytes + (guest?.otherBytes ?? 0);
		const workRatio = Math.max(1, ...plans.map(({ flops }, i) => flops / (steps[i]?.plain.flops ?? flops)));
		return { steps: plans, others, arenas, arenaBytes, smallBytes, guest, totalBytes, limit: fitted, fits: totalBytes <= fitted, workRatio };
	};
	const plain = steps.map((step) => step.plain);
	/** The steps, with as much computed again as the arenas' bytes ask for. */
	const reduced = async (budget: number): Promise<ProgramPlan[]> => {
		const plans: ProgramPlan[] = [];
		for (const { step, graph, plain: whole } of steps) {
			await breathe();
			plans.push(whole.arenaBytes <= budget ? whole : fitStep(machine, step, graph, whole, budget));
		}
		return plans;
	};
	let fit = assemble(plain, limit ?? CARDS[0] ?? 0, undefined);
	const { smallBytes } = fit;
	for (const target of limit === undefined ? CARDS : [limit]) {
		for await (const guest of guestsOf(guests)) {
			const whole = assemble(plain, target, guest);
			if (whole.fits && (guest || !guests)) return whole;
		}
		const made = new Map<number, ProgramPlan[]>();
		for await (const guest of guestsOf(guests)) {
			// The parameters of what is computed again come on top.
			const budget = target - otherBytes - 1.3 * smallBytes - (guest?.otherBytes ?? 0);
			if (guest && total(guest.arenas) > budget) continue;
			const plans = made.get(budget) ?? (await reduced(budget));
			made.set(budget, plans);
			const tried = assemble(plans, target, guest);
			if (tried.fits) return tried;
			if (guest) continue;
			if (target === limit) return tried;
			if (target === CARDS.at(-1)) fit = tried;
		}
	}
	return fit;
}

/**
 * Room for a program that is run beside what is held, and a guest in its arenas.
 * @param own arenas of the program @param limit as for a pass
 */
export async function fitGuest(heldBytes: number, own: readonly number[], guests: Guests | undefined, limit: number | undefined): Promise<GuestFit> {
	const assemble = (guest: Guest | undefined): GuestFit => {
		const arenas = Arenas.sizes([own, guest?.arenas ?? []]);
		return { guest, arenas, totalBytes: heldBytes + total(arenas) + (guest?.otherBytes ?? 0) };
	};
	for (const target of limit === undefined ? CARDS : [limit]) {
		for await (const guest of guestsOf(guests)) {
			const tried = assemble(guest);
			if (guest && tried.totalBytes <= target) return tried;
		}
	}
	return assemble(undefined);
}

export interface GuestFit {
	readonly guest: Guest | undefined;
	readonly arenas: readonly number[];
	readonly totalBytes: number;
}
