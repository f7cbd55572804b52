/**
 * The memory plan of a list of steps.
 */
import { ALIGNMENT, alignUp } from '../gpu/buffers';
import type { Gpu } from '../gpu/gpu';
import type { Slot } from './dispatch';
import { slotBytes, traffic, type Step } from './residency';

export interface Placement {
	readonly arenas: readonly number[];
	readonly place: ReadonlyMap<Slot, { readonly arena: number; readonly offset: number; readonly bytes: number }>;
}

/** Places every slot the steps touch for which `planned` holds. */
export function place(steps: readonly Step[], planned: (slot: Slot) => boolean, pinned: readonly Slot[], gpu: Gpu): Placement {
	const slots = new Set<Slot>(pinned);
	for (const { reads, writes } of traffic(steps, planned)) [...reads, ...writes].forEach((slot) => slots.add(slot));
	const arenas: number[] = [];
	const places = new Map<Slot, { arena: number; offset: number; bytes: number }>();
	for (const slot of slots) {
		const bytes = alignUp(slotBytes(slot), ALIGNMENT);
		const last = arenas.length - 1;
		const used = arenas[last];
		if (used === undefined || used + bytes > gpu.limits.maxBufferSize) arenas.push(bytes);
		else arenas[last] = used + bytes;
		const arena = arenas.length - 1;
		places.set(slot, { arena, offset: (arenas[arena] ?? 0) - bytes, bytes });
	}
	return { arenas, place: places };
}
