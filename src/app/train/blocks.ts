/** The blocks a family's UNet has, in the order people know them, by group. BASE, the text encoder, is none of them: it has a switch of its own. */
import { BLOCK_IDS } from '../../recipe/recipe';
import type { BlockId, ModelFamily } from '../../recipe/recipe';
import { UNET_BLOCKS } from '../../recipe/defaults';

export type BlockGroup = 'in' | 'middle' | 'out';

/** SDXL has three levels: IN00–IN08, M00, OUT00–OUT08. */
const LAST_BLOCK: Readonly<Record<ModelFamily, number>> = { mini: 11, sd15: 11, sdxl: 8 };

export function blockGroups(family: ModelFamily): { group: BlockGroup; blocks: BlockId[] }[] {
	const there = UNET_BLOCKS.filter((block) => block === 'M00' || Number(block.slice(-2)) <= LAST_BLOCK[family]);
	return [
		{ group: 'in', blocks: there.filter((block) => block.startsWith('IN')) },
		{ group: 'middle', blocks: there.filter((block) => block === 'M00') },
		{ group: 'out', blocks: there.filter((block) => block.startsWith('OUT')) }
	];
}

/** `blocks` with `changed` switched on or off, in the usual order. */
export function withBlocks(blocks: readonly BlockId[], changed: readonly BlockId[], on: boolean): BlockId[] {
	const wanted = new Set(on ? [...blocks, ...changed] : blocks.filter((block) => !changed.includes(block)));
	return BLOCK_IDS.filter((block) => wanted.has(block));
}

/** `blocks` with the text encoder or without it. */
export function withTextEncoder(blocks: readonly BlockId[], on: boolean): BlockId[] {
	return withBlocks(blocks, ['BASE'], on);
}
