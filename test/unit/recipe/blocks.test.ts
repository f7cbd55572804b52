import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BLOCK_GROUPS, groupOf, parseBlocks, printBlocks } from '../../../src/recipe/blocks';
import { BLOCK_LISTS } from '../../../src/recipe/plot-blocks';
import { BLOCK_IDS } from '../../../src/recipe/recipe';
import type { BlockId } from '../../../src/recipe/recipe';
import { sd15Modules, sdxlModules } from '../lora/models';

const blocks = (text: string): BlockId[] => {
	const parsed = parseBlocks(text);
	if (!parsed.ok) throw new Error(`${parsed.reason} ${parsed.entry}`);
	return parsed.blocks;
};

describe('blocks as text', () => {
	it.each([
		['OUT03', ['OUT03']],
		['face', ['OUT03', 'OUT04', 'OUT05']],
		['OUT03-05', ['OUT03', 'OUT04', 'OUT05']],
		['OUT03-OUT05', ['OUT03', 'OUT04', 'OUT05']],
		['in4, m0、out11', ['IN04', 'M00', 'OUT11']],
		['out5 out5 IN11-M00', ['IN11', 'M00', 'OUT05']],
		['OUT -OUT00-10', ['OUT11']]
	])('%s', (text, expected) => expect(blocks(text)).toEqual(expected));

	it('an entry that takes away starts from the whole UNet', () => {
		expect(blocks('!BASE, -IN00-11, -M00')).toEqual(BLOCK_GROUPS.out);
	});

	it.each([
		['OUT12', 'unknown'],
		['OUT05-03', 'unknown'],
		['faces', 'unknown'],
		['', 'empty'],
		['-all', 'empty'],
		['1,0,1', 'length'],
		[BLOCK_LISTS[12]!.map(() => 0).join(','), 'empty']
	])('refuses %j: %s', (text, reason) => expect(parseBlocks(text)).toMatchObject({ ok: false, reason }));

	it.each([12, 17, 20, 26])('lists of %i are read', (length) => {
		const ids = BLOCK_LISTS[length]!;
		expect(ids).toHaveLength(length);
		const numbers = ids.map((_, i) => (i % 3 === 0 ? 1 : 0));
		const chosen = blocks(numbers.join(','));
		expect(chosen).toEqual(ids.filter((_, i) => i % 3 === 0));
	});

	it('any choice comes back from its text', () => {
		fc.assert(
			fc.property(fc.subarray([...BLOCK_IDS], { minLength: 1 }), (chosen) => {
				expect(blocks(printBlocks(chosen))).toEqual(chosen);
			})
		);
	});

	it('names groups in any order', () => {
		expect(groupOf(['OUT05', 'OUT03', 'OUT04'])).toBe('face');
		expect(printBlocks(BLOCK_IDS.filter((id) => id !== 'BASE'))).toBe('all');
	});
});

describe('the lists and groups', () => {
	it.each([
		['SD 1.5', sd15Modules, 17],
		['SDXL', sdxlModules, 12]
	] as const)('of %s name the blocks with attention', (_, modules, length) => {
		const attentive = new Set(modules.filter((m) => m.path.includes('.attn1.')).map((m) => m.block));
		expect(BLOCK_LISTS[length]!.filter((id) => id !== 'BASE')).toEqual(BLOCK_IDS.filter((id) => attentive.has(id)));
		for (const id of attentive) expect(BLOCK_GROUPS.attention).toContain(id);
	});
});
