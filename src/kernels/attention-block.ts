/**
 * How the block kernel of attention (`shaders/attention_block.wesl`) stages its operands, and whether it fits at all.
 *
 * Rule: numbers stored as halves are staged as halves where they stay for the whole run (rows); columns, read more often than converted, are staged in f32 while
 * that fits. Measured with `bench/attention.ts`.
 */
import type { Target } from './dispatch';

export const BLOCK_ROWS = 64;
export const BLOCK_COLUMNS = 32;
const BLOCK_THREADS = 128;

export interface BlockStaging {
	readonly rowsHalf: boolean;
	readonly columnsHalf: boolean;
}

export interface BlockNeeds {
	/** Of a head. */
	readonly quads: number;
	/** 1 forward, 2 backward: matrices whose rows stay. */
	readonly stays: 1 | 2;
	/** Whether rows, and columns, are stored as halves. */
	readonly halves: BlockStaging;
}

export function blockBytes({ quads, stays }: BlockNeeds, { rowsHalf, columnsHalf }: BlockStaging): number {
	const pitch = Math.floor(quads / 2) * 2 + 1;
	return pitch * (stays * BLOCK_ROWS * (rowsHalf ? 8 : 16) + 2 * BLOCK_COLUMNS * (columnsHalf ? 8 : 16)) + BLOCK_ROWS * 8 * 16;
}

/** The staging for this machine, or nothing where the block does not fit. `tight`: halves wherever possible. */
export function chooseBlock(needs: BlockNeeds, target: Target, tight = false): BlockStaging | undefined {
	if (target.software || target.maxWorkgroupInvocations < BLOCK_THREADS) return undefined;
	const { rowsHalf, columnsHalf } = needs.halves;
	const candidates = [...(tight ? [] : [{ rowsHalf, columnsHalf: false }]), { rowsHalf, columnsHalf }];
	return candidates.find((staging) => blockBytes(needs, staging) <= target.maxWorkgroupStorage);
}

/** Neighbouring lanes share a subgroup of at least eight. */
export const blockSubgroups = (target: Target): boolean => target.subgroups && target.subgroupSize >= 8;
