/**
 * Blocks as people write them: named groups, ranges, and the lists of 12, 17, 20 or 26 numbers that other programs use.
 *
 * Text: entries between commas or spaces, each an id (`OUT03`), a range (`OUT03-05`, `IN04-IN08`), a group (`attention`) or any of these with `-` or `!` before it, which takes
 * away. An entry that takes away at the beginning starts from all blocks of the UNet. Or one list of numbers, 0 meaning "not".
 * Lists: ids that a list does not name count as 0 (SuperMerger, LoRA Block Weight).
 */
import { BLOCK_LISTS } from './plot-blocks';
import { BLOCK_IDS } from './recipe';
import type { BlockId } from './recipe';

const between = (from: BlockId, to: BlockId): BlockId[] => BLOCK_IDS.slice(BLOCK_IDS.indexOf(from), BLOCK_IDS.indexOf(to) + 1);

const unet = BLOCK_IDS.filter((id) => id !== 'BASE');
const withAttention = new Set([...(BLOCK_LISTS[12] ?? []), ...(BLOCK_LISTS[17] ?? [])]);

/**
 * Named groups. attention: every block that has attention in SD1.5 or SDXL. face: the decoder blocks in which users find a face's shape (OUT03–05).
 * Groups name blocks of both families; those that a model does not have do nothing there.
 */
export const BLOCK_GROUPS = {
	all: unet,
	attention: unet.filter((id) => withAttention.has(id)),
	face: between('OUT03', 'OUT05'),
	in: between('IN00', 'IN11'),
	mid: ['M00'],
	out: between('OUT00', 'OUT11'),
	/** Composition: the deep blocks. */
	deep: [...between('IN07', 'IN11'), 'M00', ...between('OUT00', 'OUT02')],
	/** Colour and texture: the last blocks. */
	fine: between('OUT06', 'OUT11')
} as const satisfies Record<string, readonly BlockId[]>;
export type BlockGroup = keyof typeof BLOCK_GROUPS;

export type ParsedBlocks = { ok: true; blocks: BlockId[] } | { ok: false; reason: 'unknown' | 'length' | 'empty'; entry: string };

const isId = (text: string): text is BlockId => (BLOCK_IDS as readonly string[]).includes(text);

/** `in4` → IN04. */
function idOf(text: string): BlockId | undefined {
	const match = /^(IN|OUT|M)(\d{1,2})$/.exec(text.toUpperCase());
	const id = match ? `${match[1] ?? ''}${(match[2] ?? '').padStart(2, '0')}` : text.toUpperCase();
	return isId(id) ? id : undefined;
}

function entryOf(text: string): readonly BlockId[] | undefined {
	const group = text.toLowerCase();
	if (Object.hasOwn(BLOCK_GROUPS, group)) return BLOCK_GROUPS[group as BlockGroup];
	const single = idOf(text);
	if (single) return [single];
	const range = /^([A-Z]+\d+)-([A-Z]*\d+)$/i.exec(text);
	const from = range && idOf(range[1] ?? '');
	const area = from?.replace(/\d+/, '') ?? '';
	const to = range && idOf(/^\d/.test(range[2] ?? '') ? area + (range[2] ?? '') : (range[2] ?? ''));
	return from && to && BLOCK_IDS.indexOf(from) <= BLOCK_IDS.indexOf(to) ? between(from, to) : undefined;
}

/** Blocks in their own order, each once. */
export function parseBlocks(text: string): ParsedBlocks {
	const entries = text.split(/[\s,、，]+/).filter((entry) => entry !== '');
	if (entries.length > 1 && entries.every((entry) => Number.isFinite(Number(entry)))) {
		const ids = BLOCK_LISTS[entries.length];
		if (!ids) return { ok: false, reason: 'length', entry: String(entries.length) };
		const chosen = new Set(ids.filter((_, i) => Number(entries[i]) !== 0));
		return chosen.size > 0 ? { ok: true, blocks: BLOCK_IDS.filter((id) => chosen.has(id)) } : { ok: false, reason: 'empty', entry: text.trim() };
	}
	const chosen = new Set<BlockId>(/^[-!]/.test(entries[0] ?? '') ? unet : []);
	for (const entry of entries) {
		const away = /^[-!]/.test(entry);
		const ids = entryOf(away ? entry.slice(1) : entry);
		if (!ids) return { ok: false, reason: 'unknown', entry };
		for (const id of ids) {
			if (away) chosen.delete(id);
			else chosen.add(id);
		}
	}
	return chosen.size > 0 ? { ok: true, blocks: BLOCK_IDS.filter((id) => chosen.has(id)) } : { ok: false, reason: 'empty', entry: text.trim() };
}

/** The group these blocks are, in any order. */
export function groupOf(blocks: readonly BlockId[]): BlockGroup | undefined {
	const chosen = new Set(blocks);
	return (Object.keys(BLOCK_GROUPS) as BlockGroup[]).find((name) => {
		const ids = BLOCK_GROUPS[name];
		return ids.length === chosen.size && ids.every((id) => chosen.has(id));
	});
}

/** The shortest text that means these blocks: a group, or ids and ranges. */
export function printBlocks(blocks: readonly BlockId[]): string {
	const group = groupOf(blocks);
	if (group) return group;
	const chosen = new Set(blocks);
	const parts: string[] = [];
	for (let i = 0; i < BLOCK_IDS.length; i++) {
		const first = BLOCK_IDS[i];
		if (!first || !chosen.has(first)) continue;
		const area = first.replace(/\d+/, '');
		let end = i;
		while (chosen.has(BLOCK_IDS[end + 1] as BlockId) && BLOCK_IDS[end + 1]?.replace(/\d+/, '') === area) end++;
		const last = BLOCK_IDS[end] ?? first;
		parts.push(end === i ? first : end === i + 1 ? `${first}, ${last}` : `${first}-${last.slice(area.length)}`);
		i = end;
	}
	return parts.join(', ');
}
