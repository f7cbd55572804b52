/** Numbers behind the drawings of a merge. Pure. */
import { blockRatio, type MergePart } from '../../recipe/merge';
import type { BlockId } from '../../recipe/recipe';

/** From "the first n keep so much" to what each adds: what rounding makes negative counts 0. */
export function shares(energy: readonly number[]): number[] {
	return energy.map((kept, i) => Math.max(0, kept - (energy[i - 1] ?? 0)));
}

/** Size of a part's change per block as it enters the merge. */
export function weighted(part: Pick<MergePart, 'ratio' | 'blocks'>, blocks: readonly { block: BlockId; norm: number }[]): Map<BlockId, number> {
	return new Map(blocks.map(({ block, norm }) => [block, norm * Math.abs(blockRatio(part, block))]));
}

/** A share that is nearly all is told with the digits that matter: 0.99962 → "99.96 %". Only what is all is 100 %. */
export function keptText(share: number): string {
	if (share > 1 - 1e-6) return '100 %';
	return `${(Math.floor(share * 1e4) / 100).toFixed(share < 0.99 ? 1 : 2)} %`;
}
