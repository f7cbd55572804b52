/** Singular values of many modules added up per block and over all, for reports: norms, spectra, and what a dimension keeps. */
import { BLOCK_IDS } from '../recipe/recipe';
import type { BlockId } from '../recipe/recipe';
import type { BlockReport } from './merge-types';

interface Sums {
	modules: number;
	rank: number;
	square: number;
	/** Σσₖ² by k. */
	squares: number[];
}

const empty = (): Sums => ({ modules: 0, rank: 0, square: 0, squares: [] });

function shares(squares: readonly number[]): number[] {
	const total = squares.reduce((a, b) => a + b, 0);
	let sum = 0;
	return squares.map((x) => (total > 0 ? Math.min(1, (sum += x) / total) : 1));
}

export class Tally {
	readonly #blocks = new Map<BlockId, Sums>();
	readonly #all = empty();
	readonly ranks: Record<string, number> = {};

	/** @param sigma all singular values of the module, or only its squared norm where they were not computed */
	add(block: BlockId, rank: number, sigma: Float64Array | number): void {
		const sums = this.#blocks.get(block) ?? empty();
		this.#blocks.set(block, sums);
		this.ranks[rank] = (this.ranks[rank] ?? 0) + 1;
		for (const one of [sums, this.#all]) {
			one.modules++;
			one.rank = Math.max(one.rank, rank);
			if (typeof sigma === 'number') one.square += sigma;
			else
				sigma.forEach((s, k) => {
					one.square += s * s;
					one.squares[k] = (one.squares[k] ?? 0) + s * s;
				});
		}
	}

	get norm(): number {
		return Math.sqrt(this.#all.square);
	}

	get energy(): number[] {
		return shares(this.#all.squares);
	}

	get blocks(): BlockReport[] {
		return BLOCK_IDS.flatMap((block) => {
			const sums = this.#blocks.get(block);
			if (!sums) return [];
			const { modules, rank, square, squares } = sums;
			return [{ block, modules, rank, norm: Math.sqrt(square), spectrum: squares.map(Math.sqrt), energy: shares(squares) }];
		});
	}
}
