import { describe, expect, it } from 'vitest';
import { floatsToHalves } from '../../../src/formats/half';
import { OnnxModel } from '../../../src/onnx/model';
import { assemble, floatField, intField, messageField, stringField } from '../../../src/onnx/protobuf';
import { openSession } from '../../../src/onnx/session';

describe('protocol buffers', () => {
	it('are encoded as the standard says', async () => {
		const message = [...intField(1, 150), ...stringField(2, 'testing'), ...intField(3, -2), ...floatField(4, 1), ...messageField(5, intField(1, 300))];
		const expected = '089601' + '120774657374696e67' + '18feffffffffffffffff01' + '250000803f' + '2a0308ac02';
		expect(Buffer.from(await assemble(message)).toString('hex')).toBe(expected);
		expect(Buffer.from(await assemble(intField(1, 2 ** 40))).toString('hex')).toBe('08808080808020');
	});

	it('read promised bytes in order, and only when put together', async () => {
		const order: string[] = [];
		const later = (name: string, length: number) => ({ length, read: () => (order.push(name), Promise.resolve(new Uint8Array(length).fill(7))) });
		const message = messageField(1, [later('a', 2), Uint8Array.of(1), later('b', 1)]);
		expect(order).toEqual([]);
		expect(Array.from(await assemble(message))).toEqual([10, 4, 7, 7, 1, 7]);
		expect(order).toEqual(['a', 'b']);
		await expect(assemble([{ length: 2, read: () => Promise.resolve(new Uint8Array(3)) }])).rejects.toThrow('3 bytes instead of 2');
	});
});

describe('models', () => {
	/** y = softmax(x·W + b) with W stored as halves, and the indices of the rows' maxima. */
	function model(): OnnxModel {
		const onnx = new OnnxModel();
		const x = onnx.input('x', 'f32', ['rows', 2]);
		const halves = floatsToHalves(Float32Array.of(1, 2, 3, -1, 0.5, 4));
		const w = onnx.node('Cast', [onnx.initializer('w', 'f16', [2, 3], new Uint8Array(halves.buffer))], { to: 1 });
		const sum = onnx.node('Add', [onnx.node('MatMul', [x, w]), onnx.floats('b', [3], [0, 1, 0])]);
		onnx.output(onnx.node('Softmax', [sum], { axis: -1 }, 'y'), 'f32', ['rows', 3]);
		onnx.output(onnx.node('ArgMax', [sum], { axis: -1, keepdims: 0 }, 'best'), 'i64', ['rows']);
		return onnx;
	}

	it('run in the runtime with the right numbers, for any number of rows', async () => {
		const session = await openSession(await model().encode());
		for (const rows of [1, 3]) {
			const data = Float32Array.from({ length: 2 * rows }, (_, i) => i - 1);
			const { y, best } = await session.run({ x: { dims: [rows, 2], data } });
			expect([y?.dims, best?.dims]).toEqual([[rows, 3], [rows]]);
			for (let r = 0; r < rows; r++) {
				const [a, b] = [data[2 * r] ?? 0, data[2 * r + 1] ?? 0];
				const z = [a - b, 2 * a + 0.5 * b + 1, 3 * a + 4 * b];
				const total = z.reduce((sum, v) => sum + Math.exp(v), 0);
				z.forEach((v, i) => expect(y?.data[3 * r + i]).toBeCloseTo(Math.exp(v) / total, 6));
				expect(Number(best?.data[r])).toBe(z.indexOf(Math.max(...z)));
			}
		}
		await session.close();
	});

	it('keep names unique', () => {
		const onnx = new OnnxModel();
		onnx.input('x', 'f32', [1]);
		expect([onnx.node('Neg', ['x']), onnx.node('Neg', ['x'])]).toEqual(['Neg', 'Neg.1']);
		expect(() => onnx.initializer('x', 'f32', [1], new Uint8Array(4))).toThrow('taken');
	});

	it('are refused when they make no sense, and the next one still runs', async () => {
		const onnx = new OnnxModel();
		onnx.output(onnx.node('NoSuchOperator', [onnx.input('x', 'f32', [1])]), 'f32', [1]);
		await expect(openSession(await onnx.encode())).rejects.toThrow();
		await expect(openSession(new Uint8Array(10))).rejects.toThrow();
		const session = await openSession(await model().encode());
		await expect(session.run({ x: { dims: [1, 5], data: new Float32Array(5) } })).rejects.toThrow();
		expect((await session.run({ x: { dims: [1, 2], data: new Float32Array(2) } }))['y']?.dims).toEqual([1, 3]);
		await session.close();
	});

	it('can be run from several places at once', async () => {
		const sessions = await Promise.all([model(), model()].map(async (each) => openSession(await each.encode())));
		const runs = sessions.flatMap((session) => [1, 2, 3].map((n) => session.run({ x: { dims: [n, 2], data: new Float32Array(2 * n) } })));
		expect((await Promise.all(runs)).map(({ y }) => y?.dims[0])).toEqual([1, 2, 3, 1, 2, 3]);
		await Promise.all(sessions.map((session) => session.close()));
	});
});
