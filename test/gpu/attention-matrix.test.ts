/** The subgroup-matrix kernels of attention: against the interpreter where the adapter has matrices, and everywhere through the compiler's validation. */
import { expect, it } from 'vitest';
import type { Value } from '../../src/graph/ir';
import { lowerAttention, lowerAttentionGrad } from '../../src/kernels/attention';
import { targetOf } from '../../src/kernels/lower';
import { Case, compare, HALF_ULP } from './compare';
import { openGpu } from '../../src/gpu/gpu';
import { shaderName, shaderText } from '../../src/gpu/shaders';
import { dawn } from '../../src/gpu/node';
import { openTestGpu } from './harness';

interface Shape {
	readonly batch: number;
	readonly queries: number;
	readonly keys: number;
	readonly heads: number;
	readonly width: number;
}

const shapes: readonly Shape[] = [
	{ batch: 2, queries: 100, keys: 100, heads: 2, width: 8 },
	{ batch: 2, queries: 64, keys: 77, heads: 2, width: 16 },
	{ batch: 1, queries: 70, keys: 77, heads: 2, width: 40 },
	{ batch: 2, queries: 130, keys: 197, heads: 2, width: 64 },
	{ batch: 1, queries: 33, keys: 35, heads: 1, width: 80 },
	{ batch: 1, queries: 66, keys: 33, heads: 1, width: 160 },
	{ batch: 1, queries: 600, keys: 19, heads: 2, width: 24 }
];

function attend({ batch, queries, keys, heads, width }: Shape): { made: Case; results: Value[] } {
	const made = new Case('f16');
	const { builder } = made;
	const channels = heads * width;
	const q = made.value([batch, queries, channels], 2);
	const k = made.value([batch, keys, channels], 2);
	const v = made.value([batch, keys, channels]);
	const dout = made.value([batch, queries, channels]);
	const out = builder.attention(q, k, v, heads);
	const forward = builder.emitter.ops.find((op) => op.type === 'attention');
	if (!forward) throw new Error('the builder made no attention');
	const [dq, dk, dv] = [made.fresh('dq', q.shape), made.fresh('dk', k.shape), made.fresh('dv', v.shape)];
	const { lse, scale } = forward;
	builder.emitter.push({ type: 'attentionGrad', q, k, v, o: out, lse, dout, heads, scale, dq, dk, dv });
	return { made, results: [out, lse, dq, dk, dv] };
}

const CHOICE = {
	forward: { columns: 64, subgroups: 4, strips: 1 },
	grad_rows: { columns: 32, subgroups: 4, strips: 2 },
	grad_columns: { columns: 32, subgroups: 4, strips: 1 }
};

const hasMatrices = (await openTestGpu()).subgroupMatrix;

it.runIf(hasMatrices).each(shapes)('agrees with the interpreter: $queries × $keys, heads of $width', async (shape) => {
	const { made, results } = attend(shape);
	// Weights and their gradients are rounded to halves before they are multiplied.
	const compared = await compare({ software: false, unclamped: true }, made, results);
	compared.forEach(({ error }, i) => expect(error, ['out', 'lse', 'dq', 'dk', 'dv'][i]).toBeLessThanOrEqual(4 * HALF_ULP));
});

it('is valid for every width', async () => {
	// Shader modules only: a null device has subgroups of 128, for which no pipeline of these kernels may be made.
	const { device } = await openGpu(await dawn(['backend=null', 'enable-dawn-features=allow_unsafe_apis']), { software: false });
	const machine = {
		...targetOf(await openTestGpu({ software: false })),
		f16: true,
		subgroups: true,
		subgroupMatrix: true,
		unclamped: true,
		maxWorkgroupStorage: 49152
	};
	const checked = new Set<string>();
	for (const { made } of shapes.map(attend)) {
		for (const op of made.builder.emitter.ops) {
			if (op.type !== 'attention' && op.type !== 'attentionGrad') continue;
			const lowered = [undefined, CHOICE].flatMap((choice) =>
				op.type === 'attention' ? lowerAttention(op, machine, choice) : lowerAttentionGrad(op, machine, choice)
			);
			for (const dispatch of lowered) {
				const access: ('read' | 'read_write')[] = [];
				dispatch.bindings.forEach((binding, i) => (access[binding.binding ?? i] = binding.access === 'read' ? 'read' : 'read_write'));
				const request = { ...dispatch, access };
				const { messages } = await device.createShaderModule({ code: await shaderText(request) }).getCompilationInfo();
				const errors = messages.filter(({ type }) => type === 'error').map(({ lineNum, message }) => `${shaderName(request)}:${lineNum}: ${message}`);
				expect(errors).toEqual([]);
				expect(dispatch.shader).toMatch(/^attention_(matrix|strips|pairs|reduce)$/);
				checked.add(shaderName(request));
			}
		}
	}
	expect(checked.size).toBeGreaterThanOrEqual(6 * shapes.length);
	device.destroy();
});
