/**
 * Rules of thumb as pure functions: what a learning rate means at a batch size, what alpha does to it, how large a file becomes.
 * Every number says where it comes from; none of them is enforced.
 */
import { MODULE_TABLE } from './module-table';
import type { BlockId, ModelFamily, PassSettings, Recipe } from './recipe';
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

interface Counted {
	modules: number;
	factors: number;
}

/** The UNet's modules that these settings train, and their numbers: by blocks, attention, ranks and kind of network. LoHa has two pairs of factors and ignores the attention. */
export function countNetwork(
	family: ModelFamily,
	{ rank, convRank, network, attention, blocks }: Pick<PassSettings, 'rank' | 'convRank'> & Partial<Pick<PassSettings, 'network' | 'attention' | 'blocks'>>
): Counted {
	const only = network === 'loha' ? 'full' : (attention ?? 'full');
	const found: Counted = { modules: 0, factors: 0 };
	for (const [block, row = []] of Object.entries(MODULE_TABLE[family])) {
		if (blocks && !blocks.includes(block as BlockId)) continue;
		const add = (at: number, times: number): void => {
			found.modules += row[at] ?? 0;
			found.factors += (row[at + 1] ?? 0) * times;
		};
		if (only !== 'self') add(0, rank);
		if (only !== 'cross') add(2, rank);
		if (only !== 'full') continue;
		add(4, rank);
		if (convRank > 0) {
			add(6, rank);
			add(8, convRank);
		}
	}
	return { ...found, factors: found.factors * (network === 'loha' ? 2 : 1) };
}

/** Trainable numbers of the text encoder, where the mode trains it. */
function countText(recipe: Pick<Recipe, 'model' | 'mode' | 'passes'>): Counted {
	if (!trainsTextEncoder(recipe)) return { modules: 0, factors: 0 };
	const { rank, network } = recipe.passes.difference;
	const { modules, linear } = TEXT_PER_RANK[recipe.model.family];
	return { modules, factors: linear * rank * (network === 'loha' ? 2 : 1) };
}

/** Bytes of header that a module takes, by the names of its tensors: factors and alpha; two pairs of LoHa. */
const HEADER = { lierla: 415, loha: 680 } as const;
/** The recipe and what else a file says of itself. */
const METADATA = 6 << 10;

/** Expected size of the saved file in bytes, within a few percent, or within a few kilobytes where it is tiny. A run that goes on from a LoRA has that one's modules and ranks, which its file knows. */
export function fileBytes(recipe: Pick<Recipe, 'model' | 'mode' | 'passes' | 'saving'>): number {
	const pass = recipe.passes.difference;
	const [unet, text] = [countNetwork(recipe.model.family, pass), countText(recipe)];
	const width = recipe.saving.precision === 'f16' ? 2 : 4;
	return (unet.factors + text.factors) * width + (unet.modules + text.modules) * (width + HEADER[pass.network]) + METADATA;
}
