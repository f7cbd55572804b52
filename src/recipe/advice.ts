/**
 * Rules of thumb as pure functions: what a learning rate means at a batch size, what alpha does to it, how large a file becomes.
 * Every number says where it comes from; none of them is enforced.
 */
import type { ModelFamily, PassSettings, Recipe } from './recipe';
import { TEXT_PER_RANK, trainsTextEncoder } from './text-encoder';

function adviceRate(batch: number): number {
	return Number(((1e-3 * batch) / 12).toPrecision(2));
}

/**
 * Learning rate by batch for a full-size difference run: rate × (batch / 12), from 1e-3 at batch 12.
 * Source: the copier method's published advice is 1e-3 at batch 12; users found 12→1e-3, 6→5e-4, 4→3.3e-4, 3→2.5e-4, 1→8e-5 to work alike.
 */
export const RATE_BY_BATCH: readonly { batch: number; rate: number }[] = [1, 2, 3, 4, 6, 8, 12].map((batch) => ({ batch, rate: adviceRate(batch) }));

/** The usual upper end for full-size models at this batch; null for the mini model, whose rates are far higher (its README: 5e-3). */
export function highestUsualRate(family: ModelFamily, batch: number): number | null {
	return family === 'mini' ? null : adviceRate(batch);
}

/** Moves a rate known at one batch size to another in proportion, as the table above does. */
export function rateForBatch(rate: number, fromBatch: number, toBatch: number): number {
	return (rate * toBatch) / fromBatch;
}

/** Factor on a module's output, hence on how fast a given rate acts (kohya: alpha / rank). A quarter: a quarter of the effect per step. */
export function alphaScale(alpha: number, rank: number): number {
	return alpha / rank;
}

/**
 * Numbers in a file per rank: sums of (inputs + outputs) over all modules of a network; conv counts the 3×3 modules' `9·in + out` apart, as they
 * have a rank of their own. Source: the architectures' module tables; SD1.5 423,936 and SDXL 2,659,840 per rank for the linear network.
 */
interface PerRank {
	modules: number;
	linear: number;
	/** Extra modules when conv takes part: 1×1 and Linear of residual blocks (at the linear rank), then 3×3 (at the conv rank). */
	convModules: number;
	convLinear: number;
	conv3: number;
}
export const PER_RANK: Readonly<Record<ModelFamily, PerRank>> = {
	mini: { modules: 192, linear: 55_296, convModules: 86, convLinear: 11_520, conv3: 57_728 },
	sd15: { modules: 192, linear: 423_936, convModules: 86, convLinear: 82_880, conv3: 544_000 },
	sdxl: { modules: 722, linear: 2_659_840, convModules: 66, convLinear: 58_560, conv3: 355_840 }
};

/** Trainable numbers of one pass with all blocks and full attention. LoHa has two pairs of factors. */
export function factorCount(family: ModelFamily, pass: Pick<PassSettings, 'rank' | 'convRank'> & Partial<Pick<PassSettings, 'network'>>): number {
	const per = PER_RANK[family];
	const extra = pass.convRank > 0 ? per.convLinear * pass.rank + per.conv3 * pass.convRank : 0;
	return (per.linear * pass.rank + extra) * (pass.network === 'loha' ? 2 : 1);
}

/** Trainable numbers of the text encoder, where the mode trains it. */
function textFactors(recipe: Pick<Recipe, 'model' | 'mode' | 'passes'>): { modules: number; factors: number } {
	if (!trainsTextEncoder(recipe)) return { modules: 0, factors: 0 };
	const { rank, network } = recipe.passes.difference;
	const { modules, linear } = TEXT_PER_RANK[recipe.model.family];
	return { modules, factors: linear * rank * (network === 'loha' ? 2 : 1) };
}

/** Expected size of the saved file in bytes, within about one percent: numbers, alphas, and about 270 header bytes a module. */
export function fileBytes(recipe: Pick<Recipe, 'model' | 'mode' | 'passes' | 'saving'>): number {
	const pass = recipe.passes.difference;
	const per = PER_RANK[recipe.model.family];
	const text = textFactors(recipe);
	const modules = per.modules + (pass.convRank > 0 ? per.convModules : 0) + text.modules;
	const width = recipe.saving.precision === 'f16' ? 2 : 4;
	return (factorCount(recipe.model.family, pass) + text.factors) * width + modules * (width + 430) + 4096;
}
