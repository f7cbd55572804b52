/** Tensors of a file, converted by the GPU on their way, against the same done in JavaScript: every number type, order and size, spans smaller than tensors, and what goes wrong on the way. */
import { describe, expect, test } from 'vitest';
import { toChannelsLast } from '../../../src/diffusion/weights';
import { bfloatsToFloats, float8ToFloats, floatsToBfloats, floatsToHalves, halvesToFloats } from '../../../src/formats/half';
import { bytesSource, type ByteSource } from '../../../src/formats/source';
import { readBuffer } from '../../../src/gpu/buffers';
import { GpuError, openGpu, type Gpu } from '../../../src/gpu/gpu';
import { dawn } from '../../../src/gpu/node';
import { dequantise, quantise, quantised, quantisedPlaces } from '../../../src/kernels/int8';
import { WeightStore } from '../../../src/kernels/weights';
import { countOf, RAW_BYTES, RAW_TYPES, type RawTensor, type RawType } from '../../../src/kernels/weights-plan';
import { openTestGpu, randomFloats } from '../harness';

/** Every kind of number: usual ones, ties, tiny, subnormal, beyond halves, infinite, not a number. */
function hardFloats(count: number, seed: number): Float32Array {
	const bits = new Uint32Array(randomFloats(count, seed, 0.5).buffer);
	const special = [
		0, 0x80000000, 0x7f800000, 0xff800000, 0x7fc00001, 1, 0x80000001, 0x477fefff, 0x477ff000, 0x33000000, 0x33000001, 0x387fe000, 0x38800000, 0xb8000001
	];
	for (let i = 0; i < count; i += 3) bits[i] = i % 2 ? (special[(i / 3) % special.length] as number) : Math.imul(i + seed, 0x9e3779b1) >>> 0;
	return new Float32Array(bits.buffer);
}

interface Made {
	readonly tensor: RawTensor;
	readonly bytes: Uint8Array;
	/** As JavaScript has them, in the order of the result. */
	readonly numbers: Float32Array;
}

function bytesOf(type: RawType, floats: Float32Array): Uint8Array {
	if (type === 'F32') return new Uint8Array(floats.buffer);
	if (type === 'F16') return new Uint8Array(floatsToHalves(floats).buffer);
	if (type === 'BF16') return new Uint8Array(floatsToBfloats(floats).buffer);
	return Uint8Array.from(new Uint8Array(floats.buffer).subarray(0, floats.length));
}

function numbersOf(type: RawType, bytes: Uint8Array): Float32Array {
	const { buffer } = bytes.slice();
	if (type === 'F32') return new Float32Array(buffer);
	if (type === 'F16') return halvesToFloats(new Uint16Array(buffer));
	return type === 'BF16' ? bfloatsToFloats(new Uint16Array(buffer)) : float8ToFloats(bytes);
}

/** A file of these tensors one behind the other; `lead` bytes come first, so that nothing need be aligned. */
function fileOf(
	wanted: readonly { type: RawType; shape: readonly number[]; swap?: readonly [number, number]; floats: Float32Array }[],
	lead: number
): { made: Made[]; file: Uint8Array } {
	let offset = lead;
	const made = wanted.map(({ type, shape, swap, floats }, i): Made => {
		const bytes = bytesOf(type, floats);
		const plain = numbersOf(type, bytes);
		const tensor = { name: `${type} ${shape.join('×')} ${i}`, type, shape, offset, ...(swap ? { swap } : {}) };
		offset += bytes.length;
		return { tensor, bytes, numbers: swap ? toChannelsLast(plain, [countOf(shape) / (swap[0] * swap[1]), swap[0], swap[1], 1]) : plain };
	});
	const file = new Uint8Array(offset);
	for (const { tensor, bytes } of made) file.set(bytes, tensor.offset);
	return { made, file };
}

async function stored(gpu: Gpu, store: WeightStore, name: string): Promise<ArrayBuffer> {
	const tensor = store.get(name);
	if (!tensor) throw new Error(`There is no ${name}.`);
	const count = countOf(tensor.shape);
	const bytes = tensor.dtype === 'i8' ? quantisedPlaces(count).end : count * (tensor.dtype === 'f16' ? 2 : 4);
	return readBuffer(gpu, tensor.buffer, tensor.offset, bytes);
}

/** Bits, but any NaN is any other. */
const comparable = (numbers: Float32Array): Uint32Array =>
	new Uint32Array(numbers.buffer, numbers.byteOffset, numbers.length).map((bits) => ((bits & 0x7fffffff) > 0x7f800000 ? 0x7fc00000 : bits));

const SHAPES: readonly { shape: readonly number[]; swap?: readonly [number, number] }[] = [
	{ shape: [1] },
	{ shape: [7] },
	{ shape: [333, 5] },
	{ shape: [5, 9 * 3], swap: [3, 9] },
	{ shape: [64, 9 * 12], swap: [12, 9] },
	{ shape: [3, 2 * 50], swap: [50, 2] }
];

describe.each(['f16', 'f32'] as const)('kept as %s', (storage) => {
	test.each([0, 1, 2, 6])('every type, order and size, from byte %i on: the same bits as JavaScript', async (lead) => {
		const gpu = await openTestGpu();
		const wanted = RAW_TYPES.flatMap((type, t) => SHAPES.map((one, i) => ({ ...one, type, floats: hardFloats(countOf(one.shape), 10 * t + i) })));
		const { made, file } = fileOf(wanted, lead);
		const store = new WeightStore(gpu, storage);
		const told: number[] = [];
		await store.load(
			made.map(({ tensor }) => tensor),
			bytesSource(file),
			(bytes) => void told.push(bytes)
		);
		expect(told.at(-1)).toBe(file.length - lead);
		for (const { tensor, numbers } of made) {
			const raw = await stored(gpu, store, tensor.name);
			if (storage === 'f32') expect(comparable(new Float32Array(raw)), tensor.name).toEqual(comparable(numbers));
			else expect(comparable(halvesToFloats(new Uint16Array(raw))), tensor.name).toEqual(comparable(halvesToFloats(floatsToHalves(numbers))));
		}
		store.destroy();
	});
});

test('a tensor of several spans, copied, converted and reordered, lies as if it had come in one piece', async () => {
	const gpu = await openTestGpu();
	// Of f32 more than a span, of halves less: the third is cut because the first two come before it.
	const shape = [Math.ceil((1.25 * (8 << 20)) / (4 * 9 * 40)), 9 * 40];
	const floats = randomFloats(countOf(shape), 3, 0.1);
	const wanted = [
		{ type: 'F32' as const, shape, floats },
		{ type: 'F32' as const, shape, swap: [40, 9] as const, floats },
		{ type: 'F16' as const, shape, floats }
	];
	const { made, file } = fileOf(wanted, 4);
	const store = new WeightStore(gpu, 'f16');
	await store.load(
		made.map(({ tensor }) => tensor),
		bytesSource(file)
	);
	for (const { tensor, numbers } of made) {
		const bits = Buffer.from(await stored(gpu, store, tensor.name));
		expect(bits.equals(Buffer.from(floatsToHalves(numbers).buffer)), tensor.name).toBe(true);
	}
	store.destroy();
});

describe('an int8 base', () => {
	test.each(['f16', 'f32'] as const)('has the numbers of JavaScript, but for ties; what it costs is the same (small ones in %s)', async (storage) => {
		const gpu = await openTestGpu();
		const shapes = [{ shape: [257, 260] }, { shape: [92, 9 * 80], swap: [80, 9] as const }, { shape: [2, 9] }];
		const wanted = RAW_TYPES.flatMap((type, t) =>
			shapes.map((one, i) => ({
				...one,
				type,
				floats: randomFloats(countOf(one.shape), 40 + 10 * t + i, 0.05).map((x, n) => x * 4 ** -(Math.floor(n / 500) % 12))
			}))
		);
		const { made, file } = fileOf(wanted, 2);
		// FP8's bytes are any; none of them may be NaN here.
		for (const { tensor, numbers, bytes } of made) {
			if (tensor.type !== 'F8_E4M3') continue;
			for (let i = 0; i < bytes.length; i++) if (((file[tensor.offset + i] ?? 0) & 0x7f) === 0x7f) file[tensor.offset + i] = 0x31;
			const again = numbersOf('F8_E4M3', file.slice(tensor.offset, tensor.offset + bytes.length));
			numbers.set(tensor.swap ? toChannelsLast(again, [92, ...tensor.swap, 1]) : again);
		}
		const store = new WeightStore(gpu, storage, 'int8');
		await store.load(
			made.map(({ tensor }) => tensor),
			bytesSource(file)
		);
		for (const { tensor, numbers } of made) {
			const raw = await stored(gpu, store, tensor.name);
			expect(store.get(tensor.name)?.dtype).toBe(quantised(tensor.shape, 'int8') ? 'i8' : storage);
			if (!quantised(tensor.shape, 'int8')) continue;
			const { data, error } = quantise(numbers);
			const { scales } = quantisedPlaces(numbers.length);
			expect(new Uint8Array(raw, scales), tensor.name).toEqual(data.subarray(scales));
			const [ours, theirs] = [dequantise(raw, numbers.length), dequantise(data.buffer, numbers.length)];
			let others = 0;
			for (const [i, x] of numbers.entries()) {
				if (ours[i] === theirs[i]) continue;
				others++;
				// Only numbers in the middle of two codes may go to the other one.
				const [a, b] = [Math.abs((ours[i] ?? NaN) - x), Math.abs((theirs[i] ?? NaN) - x)];
				expect(Math.abs(a - b), `${tensor.name} ${i}`).toBeLessThanOrEqual(1e-3 * b);
			}
			expect(others).toBeLessThanOrEqual(numbers.length * 1e-2);
			expect(store.int8Error?.byName.get(tensor.name) ?? NaN, tensor.name).toBeCloseTo(error, 8);
		}
		store.destroy();
	});

	test('zeros cost nothing; what is not finite stays visible, and only in its group', async () => {
		const gpu = await openTestGpu();
		const floats = randomFloats(256 * 256, 9, 0.1);
		floats.fill(0, 64, 128);
		floats[5] = Infinity;
		floats[200] = NaN;
		const { made, file } = fileOf([{ type: 'F32', shape: [256, 256], floats }], 0);
		const store = new WeightStore(gpu, 'f16', 'int8');
		await store.load(
			made.map(({ tensor }) => tensor),
			bytesSource(file)
		);
		const kept = await store.read(made[0]?.tensor.name ?? '');
		expect([...kept.subarray(64, 128)].every((x) => x === 0)).toBe(true);
		const broken = [...kept.entries()].flatMap(([i, x]) => (Number.isFinite(x) ? [] : [Math.floor(i / 32)]));
		expect([...new Set(broken)]).toEqual([0, 6]);
		store.destroy();
	});
});

describe('what goes wrong on the way', () => {
	/** Three spans and more. */
	const shape = [3 * (4 << 10), 1 << 10];
	const tensor: RawTensor = { name: 'large', type: 'F32', shape, offset: 0 };
	const slow = (read: (offset: number) => void): ByteSource => ({
		size: countOf(shape) * RAW_BYTES.F32,
		async read(offset, length) {
			await new Promise((resolve) => setTimeout(resolve, 1));
			read(offset);
			return new Uint8Array(length);
		}
	});

	test('a file that fails, or whoever listens, ends it with that error, and nothing is read afterwards', async () => {
		const gpu = await openTestGpu();
		let reads = 0;
		const failing = slow((offset) => {
			reads++;
			if (offset > 8 << 20) throw new RangeError('the disk was pulled out');
		});
		const store = new WeightStore(gpu, 'f16');
		await expect(store.load([tensor], failing)).rejects.toThrow('the disk was pulled out');
		const after = reads;
		await new Promise((resolve) => setTimeout(resolve, 20));
		expect(reads).toBe(after);
		expect(store.get('large')).toBeUndefined();
		store.destroy();
		const told = new WeightStore(gpu, 'f16');
		const stop = (): void => {
			throw new Error('stopped by the user');
		};
		await expect(
			told.load(
				[tensor],
				slow(() => undefined),
				stop
			)
		).rejects.toThrow('stopped by the user');
		told.destroy();
		gpu.check();
	});

	test('a device that is lost is named, and nothing stays waiting', async () => {
		const gpu = await openGpu(await dawn());
		const store = new WeightStore(gpu, 'f16');
		let reads = 0;
		const losing = slow(() => {
			if (++reads === 3) gpu.device.destroy();
		});
		const error = await store.load([tensor], losing).then(
			() => undefined,
			(cause: unknown) => cause
		);
		expect(error).toBeInstanceOf(GpuError);
		expect(error).toMatchObject({ code: 'lost' });
		store.destroy();
		gpu.close();
	});
});
