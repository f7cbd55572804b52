/**
 * Block BASE, the text encoder.
 *
 * Rules (spec §1.0, §3.1, §3.2)
 * - Only mode LoRA trains it: there each picture has its own words, which are encoded anew at every step. In the other modes the words are encoded once and nothing flows back, so its
 *   modules would stay what they were at the beginning: TrainTrain writes them into its files all the same, here they are left out.
 * - Restricted attention (cross, self) leaves it out; LoHa ignores that choice.
 * - Per layer: the attention's four projections and both layers of the MLP, with the rank and alpha of linear layers.
 */
import type { BlockId, ModelFamily, PassSettings, Recipe } from './recipe';

/** Whether these settings, in a mode that trains it, have text-encoder modules. */
export function hasTextModules({
	blocks,
	attention,
	network
}: { readonly blocks: readonly BlockId[] } & Partial<Pick<PassSettings, 'attention' | 'network'>>): boolean {
	return blocks.includes('BASE') && (network === 'loha' || (attention ?? 'full') === 'full');
}

export function trainsTextEncoder({ mode, passes }: Pick<Recipe, 'mode' | 'passes'>): boolean {
	return mode === 'lora' && hasTextModules(passes.difference);
}

/** Modules, and numbers per rank. SDXL's first encoder ends one layer early, because nothing reads its last one. */
export const TEXT_PER_RANK: Readonly<Record<ModelFamily, { modules: number; linear: number }>> = {
	mini: { modules: 24, linear: 4 * (4 * 2 + 2 * 5) * 64 },
	sd15: { modules: 72, linear: 12 * (4 * 2 + 2 * 5) * 768 },
	sdxl: { modules: 66 + 192, linear: 11 * (4 * 2 + 2 * 5) * 768 + 32 * (4 * 2 + 2 * 5) * 1280 }
};
