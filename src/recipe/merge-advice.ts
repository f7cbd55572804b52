/**
 * Which ratio to start from when LoRAs of one effect are merged, from how far they overlap.
 *
 * Rule: changes add up. Merged at one ratio q, the sum acts along LoRA i as strongly as q·Σⱼ⟨Wᵢ,Wⱼ⟩/‖Wᵢ‖² of itself. q is chosen so that this is 1 over all of them,
 * q = Σᵢ‖Wᵢ‖² / Σᵢⱼ⟨Wᵢ,Wⱼ⟩, which is 1/(1 + (n−1)·ρ) for n LoRAs of equal size and similarity ρ: 0.6 of each for three at ρ = ⅓, 0.43 for five, 1/n for equal ones,
 * 1 for LoRAs that have nothing in common. It is a start; the plot decides.
 */

export interface RatioAdvice {
	/** The advised ratio of each. */
	each: number;
	/** Mean cosine between two different LoRAs, −1 to 1; 0 for a single one. */
	overlap: number;
}

/** @param products ⟨Wᵢ,Wⱼ⟩, symmetric */
export function adviseRatio(products: readonly (readonly number[])[]): RatioAdvice {
	const n = products.length;
	const at = (i: number, j: number): number => products[i]?.[j] ?? 0;
	let [own, all, cosines] = [0, 0, 0];
	for (let i = 0; i < n; i++) {
		own += at(i, i);
		for (let j = 0; j < n; j++) {
			all += at(i, j);
			const size = Math.sqrt(at(i, i) * at(j, j));
			if (i !== j && size > 0) cosines += at(i, j) / size;
		}
	}
	const overlap = n > 1 ? cosines / (n * (n - 1)) : 0;
	if (n === 0 || own <= 0) return { each: 1, overlap };
	// LoRAs that cancel each other would need more than their own strength, which is no advice anyone should get.
	const each = all > own ? own / all : 1;
	return { each: Math.max(1 / n, each), overlap };
}

/** How strong a merge at these ratios is, in strengths of one of its parts: 1 at the advised ratio. */
export function effectOf(products: readonly (readonly number[])[], ratios: readonly number[]): number {
	let [own, sum] = [0, 0];
	products.forEach((row, i) => {
		own += row[i] ?? 0;
		row.forEach((product, j) => (sum += product * (ratios[j] ?? 0)));
	});
	return own > 0 ? sum / own : 0;
}
