/**
 * The memory plan: which slot lies where, decided before the first step. A slot is live from the first step that writes it to the last
 * that touches it; slots whose lives overlap must not overlap in memory. Placement is greedy: in a given order, each slot takes
 * the tightest gap between the slots it coexists with (best fit), in the first arena that has room. Several orders are tried (by size, as in
 * Pisarchyk & Lee, "Efficient memory management for deep neural net inference", 2020, and by time) and the smallest plan wins.
 *
 * Generic over slots: the program plans over dispatches with their scratch, `recompute` over graph operations.
 */
import { GraphError } from './shape';

/** One step of execution. Everything it reads and writes is live during it: results never share memory with operands. */
export interface PlanStep<S> {
	readonly reads: readonly S[];
	readonly writes: readonly S[];
}

export interface PlanOptions<S> {
	/** Offsets are multiples of this. */
	readonly alignment: number;
	readonly maxArenaBytes: number;
	/** Never reused: live all the time. Slots that are read before any step writes them are treated the same. */
	readonly pinned?: Iterable<S>;
}

export interface Place {
	readonly arena: number;
	readonly offset: number;
	/** What was asked for, not rounded. */
	readonly bytes: number;
}

export interface MemoryPlan<S> {
	/** Bytes of each arena. */
	readonly arenas: number[];
	readonly place: Map<S, Place>;
	/** Sum of the arenas. */
	readonly peakBytes: number;
	/** The most that is live at once: no plan can be smaller. */
	readonly lowerBound: number;
}

interface Life<S> {
	readonly slot: S;
	readonly from: number;
	readonly to: number;
	readonly bytes: number;
	/** bytes rounded up to the alignment. */
	readonly room: number;
}

function livesOf<S>(steps: readonly PlanStep<S>[], sizeOf: (slot: S) => number, options: PlanOptions<S>): Life<S>[] {
	const last = Math.max(0, steps.length - 1);
	const from = new Map<S, number>();
	const to = new Map<S, number>();
	const pinned = new Set(options.pinned);
	steps.forEach(({ reads, writes }, index) => {
		for (const slot of reads) if (!from.has(slot) && !writes.includes(slot)) pinned.add(slot);
		for (const slot of writes) if (!from.has(slot)) from.set(slot, index);
		for (const slot of [...reads, ...writes]) to.set(slot, index);
	});
	return [...new Set([...pinned, ...to.keys()])].map((slot) => {
		const bytes = sizeOf(slot);
		const room = Math.max(1, Math.ceil(bytes / options.alignment)) * options.alignment;
		return pinned.has(slot) ? { slot, from: 0, to: last, bytes, room } : { slot, from: from.get(slot) ?? 0, to: to.get(slot) ?? last, bytes, room };
	});
}

function mostLive<S>(lives: readonly Life<S>[], steps: number): number {
	const change = new Float64Array(steps + 2);
	for (const { from, to, room } of lives) {
		change[from] = (change[from] as number) + room;
		change[to + 1] = (change[to + 1] as number) - room;
	}
	let live = 0;
	return change.reduce((most, delta) => Math.max(most, (live += delta)), 0);
}

interface Placed {
	readonly from: number;
	readonly to: number;
	readonly offset: number;
	readonly end: number;
}

/** An arena being filled: what was placed, by offset. */
class Arena {
	bytes = 0;
	private readonly placed: Placed[] = [];

	constructor(private readonly max: number) {}

	/** The tightest gap for this life, or the end of what it coexists with; undefined when the arena would grow too large. */
	find(life: { from: number; to: number; room: number }): number | undefined {
		let end = 0;
		let best: number | undefined;
		let tightest = Infinity;
		for (const other of this.placed) {
			if (other.to < life.from || other.from > life.to) continue;
			const gap = other.offset - end;
			if (gap >= life.room && gap < tightest) {
				best = end;
				tightest = gap;
			}
			end = Math.max(end, other.end);
		}
		const offset = best ?? end;
		return offset + life.room <= this.max ? offset : undefined;
	}

	put(life: { from: number; to: number; room: number }, offset: number): void {
		const end = offset + life.room;
		let low = 0;
		let high = this.placed.length;
		while (low < high) {
			const middle = (low + high) >> 1;
			if ((this.placed[middle] as Placed).offset < offset) low = middle + 1;
			else high = middle;
		}
		this.placed.splice(low, 0, { from: life.from, to: life.to, offset, end });
		this.bytes = Math.max(this.bytes, end);
	}
}

function placeAll<S>(order: readonly Life<S>[], options: PlanOptions<S>): { arenas: number[]; place: Map<S, Place> } {
	const max = Math.floor(options.maxArenaBytes / options.alignment) * options.alignment;
	const arenas: Arena[] = [];
	const place = new Map<S, Place>();
	for (const life of order) {
		if (life.room > max) throw new GraphError(`A slot of ${life.bytes} bytes does not fit into an arena of ${options.maxArenaBytes} bytes.`);
		let index = 0;
		let offset: number | undefined;
		for (; index < arenas.length; index++) {
			offset = arenas[index]?.find(life);
			if (offset !== undefined) break;
		}
		if (offset === undefined) {
			arenas.push(new Arena(max));
			offset = 0;
		}
		arenas[index]?.put(life, offset);
		place.set(life.slot, { arena: index, offset, bytes: life.bytes });
	}
	return { arenas: arenas.map((arena) => arena.bytes), place };
}

const ORDERS: readonly ((a: Life<unknown>, b: Life<unknown>) => number)[] = [
	(a, b) => b.room - a.room || a.from - b.from,
	(a, b) => b.room * (b.to - b.from + 1) - a.room * (a.to - a.from + 1) || a.from - b.from,
	(a, b) => b.to - b.from - (a.to - a.from) || b.room - a.room,
	(a, b) => a.from - b.from || b.room - a.room
];

/** A plan this near the least possible is taken without trying further orders. */
const GOOD = 1.004;

/**
 * @param sizeOf Bytes of a slot.
 * @throws GraphError when a slot is larger than an arena may be.
 */
export function planMemory<S>(steps: readonly PlanStep<S>[], sizeOf: (slot: S) => number, options: PlanOptions<S>): MemoryPlan<S> {
	const lives = livesOf(steps, sizeOf, options);
	const lowerBound = mostLive(lives, steps.length);
	let best: MemoryPlan<S> | undefined;
	for (const order of ORDERS) {
		const plan = placeAll(lives.toSorted(order), options);
		const peakBytes = plan.arenas.reduce((sum, bytes) => sum + bytes, 0);
		if (!best || peakBytes < best.peakBytes) best = { ...plan, peakBytes, lowerBound };
		if (best.peakBytes <= lowerBound * GOOD) break;
	}
	return best as MemoryPlan<S>;
}

/** The most bytes live at once, without placing anything. */
export function peakLiveBytes<S>(steps: readonly PlanStep<S>[], sizeOf: (slot: S) => number, options: PlanOptions<S>): number {
	return mostLive(livesOf(steps, sizeOf, options), steps.length);
}

/**
 * Proves a plan by walking the steps: everything live lies inside its arena, aligned, and apart from everything else that is live.
 * Written from the definition, not from the planner's own bookkeeping.
 * @throws GraphError naming the step.
 */
export function checkPlan<S>(steps: readonly PlanStep<S>[], sizeOf: (slot: S) => number, plan: MemoryPlan<S>, options: PlanOptions<S>): void {
	const pinned = new Set(options.pinned);
	const lastUse = new Map<S, number>();
	const written = new Set(steps.flatMap((step) => step.writes));
	steps.forEach((step, index) => [...step.reads, ...step.writes].forEach((slot) => lastUse.set(slot, index)));
	const everLive = [...pinned, ...[...lastUse.keys()].filter((slot) => !written.has(slot))];
	const readFirst = new Set<S>();
	const seen = new Set<S>();
	for (const step of steps) {
		for (const slot of step.reads) if (!seen.has(slot) && !step.writes.includes(slot)) readFirst.add(slot);
		for (const slot of step.writes) seen.add(slot);
	}
	const live = new Set<S>([...everLive, ...readFirst]);
	const always = new Set(live);
	steps.forEach((step, index) => {
		for (const slot of step.writes) live.add(slot);
		const ranges = [...live].map((slot) => {
			const place = plan.place.get(slot);
			if (!place) throw new GraphError(`Step ${index}: a live slot has no place.`);
			if (place.bytes !== sizeOf(slot) || place.offset % options.alignment !== 0) throw new GraphError(`Step ${index}: a slot is misplaced.`);
			if (place.offset + place.bytes > (plan.arenas[place.arena] ?? 0)) throw new GraphError(`Step ${index}: a slot reaches beyond its arena.`);
			return place;
		});
		ranges.sort((a, b) => a.arena - b.arena || a.offset - b.offset);
		ranges.forEach((range, i) => {
			const next = ranges[i + 1];
			if (next && next.arena === range.arena && next.offset < range.offset + range.bytes) throw new GraphError(`Step ${index}: two live slots overlap.`);
		});
		for (const slot of live) if (!always.has(slot) && lastUse.get(slot) === index) live.delete(slot);
	});
	for (const bytes of plan.arenas) if (bytes > options.maxArenaBytes) throw new GraphError('An arena is larger than allowed.');
}
