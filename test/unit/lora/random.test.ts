import { describe, expect, it } from 'vitest';
import { initialFactors } from '../../../src/lora/init';
import { philox, UniformStream } from '../../../src/lora/random';
import { selectModules } from '../../../src/lora/modules';
import { UNET_BLOCKS } from '../../../src/recipe/defaults';
import { miniModules, sd15Modules } from './models';

const ones = 0xffffffff;

describe('philox', () => {
	// Known answers of the Random123 library for philox4x32-10.
	it.each([
		[
			[0, 0, 0, 0],
			[0, 0],
			[0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]
		],
		[
			[ones, ones, ones, ones],
			[ones, ones],
			[0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]
		],
		[
			[0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
			[0xa4093822, 0x299f31d0],
			[0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]
		]
	] as const)('of %j with key %j', (counter, key, expected) => {
		expect(philox(counter, key)).toEqual(expected);
	});

	it('is one stream however it is cut', () => {
		const stream = new UniformStream(1111, [3, 4]);
		const whole = stream.take(0, 50);
		expect([...stream.take(0, 7), ...stream.take(7, 1), ...stream.take(8, 42)]).toEqual([...whole]);
		expect(Math.min(...whole)).toBeGreaterThanOrEqual(0);
		expect(Math.max(...whole)).toBeLessThan(1);
		expect(new UniformStream(1112, [3, 4]).take(0, 50)).not.toEqual(whole);
	});
});

describe('initial factors', () => {
	const modules = selectModules(sd15Modules, { rank: 4, alpha: 4, convRank: 8, convAlpha: 8, blocks: UNET_BLOCKS });

	it.each([
		['input_blocks.1.1.transformer_blocks.0.attn1.to_q', 0.0559017, 4 * 320],
		['input_blocks.10.0.out_layers.3', 0.00931695, 8 * 1280 * 9]
	])('%s lie uniformly within ±1/√fan-in, up is zero', (path, bound, size) => {
		const index = modules.findIndex((m) => m.path === path);
		const { down, up } = initialFactors(modules[index]!, index, 7);
		expect(down).toHaveLength(size);
		expect(Math.max(...down.map(Math.abs))).toBeLessThanOrEqual(bound * 1.000001);
		const variance = down.reduce((sum, x) => sum + x * x, 0) / size;
		expect(variance / ((bound * bound) / 3)).toBeGreaterThan(0.93);
		expect(variance / ((bound * bound) / 3)).toBeLessThan(1.07);
		expect(up.every((x) => x === 0)).toBe(true);
	});

	it('are the same bits again, and others for another seed or module', () => {
		const mini = selectModules(miniModules, { rank: 4, alpha: 4, convRank: 0, convAlpha: 0, blocks: UNET_BLOCKS });
		const first = initialFactors(mini[1]!, 1, 11).down;
		expect(initialFactors(mini[1]!, 1, 11).down).toEqual(first);
		expect(initialFactors(mini[1]!, 1, 12).down).not.toEqual(first);
		expect(initialFactors(mini[1]!, 2, 11).down).not.toEqual(first);
	});
});
