import { link } from 'wesl';
import { describe, expect, it, test } from 'vitest';
import { shaderText } from '../../../src/gpu/shaders';

/** The kernel for tensor cores cannot be compiled on software adapters, so at least its linked text is checked everywhere. */
describe('the subgroup-matrix kernel', () => {
	const modes = { A0_MODE: 0, A1_MODE: 0, A2_MODE: 0, A3_MODE: 0, B0_MODE: 0, B1_MODE: 0, B2_MODE: 0, B3_MODE: 0 };
	it.each([true, false])('is linked with the extension on and without stand-ins (B over k: %s)', async (overK) => {
		const text = await shaderText({
			shader: 'gemm_matrix',
			conditions: { f16: true, subgroups: true, subgroup_matrix: true, a0_half: true, b0_half: true, out_half: true, over_k_a: true, over_k_b: overK },
			constants: { ...modes, BM: 128, BN: 128, BK: 64, WM: 64, WN: 64, A_OVER_K: 1, B_OVER_K: overK ? 1 : 0 },
			access: ['read_write', 'read', undefined, undefined, undefined, undefined, undefined, undefined, 'read_write']
		});
		expect(text).toMatch(/^enable f16;\nenable subgroups;\nenable chromium_experimental_subgroup_matrix;\n/);
		expect(text).toContain(`<Right, ${overK ? 'col' : 'row'}_major>`);
		expect(text).not.toMatch(/alias subgroup_matrix|fn subgroupMatrix|const (row|col)_major/);
	});
});

test('variants of one file, linked one after the other, are what a linker of its own makes of each', async () => {
	const files = import.meta.glob<string>('/shaders/*.wesl', { query: '?raw', eager: true, import: 'default' });
	const weslSrc = Object.fromEntries(Object.entries(files).map(([path, text]) => [path.slice('/shaders/'.length), text]));
	const constants = { WORKGROUP: 64 };
	for (const names of [['bias'], [], ['bias', 'residual', 'out_half'], ['residual']]) {
		const conditions = Object.fromEntries(names.map((name) => [name, true]));
		const alone = await link({ weslSrc, rootModuleName: 'gemm_reduce', conditions, constants, sourceMap: false });
		// No access is asked for and nothing is enabled, so the text is the linker's.
		expect(await shaderText({ shader: 'gemm_reduce', conditions, constants, access: [] })).toBe(alone.dest);
	}
});
