import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FormatError } from '../../../src/formats/error';
import { fileSource } from '../../../src/formats/node';
import { openSafetensors } from '../../../src/formats/safetensors';
import { writeSafetensors, type TensorData } from '../../../src/formats/safetensors-writer';
import { blobSource, bytesSource } from '../../../src/formats/source';

const folder = new URL('../../fixtures/formats/', import.meta.url);
const golden = new Uint8Array(readFileSync(new URL('all-types.safetensors', folder)));
const { tensors: expected } = JSON.parse(readFileSync(new URL('formats.json', folder), 'utf8')) as {
	tensors: Record<string, { shape: number[]; values: number[] }>;
};

const open = (bytes: Uint8Array) => openSafetensors(bytesSource(bytes));

/** A file with this header text and so many zero bytes of data. */
function fileOf(header: string, data = 0): Uint8Array {
	const json = new TextEncoder().encode(header);
	const bytes = new Uint8Array(8 + json.length + data);
	new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
	bytes.set(json, 8);
	return bytes;
}

const entry = (begin: number, end: number, shape: unknown = [(end - begin) / 4], dtype: unknown = 'F32') =>
	JSON.stringify({ dtype, shape, data_offsets: [begin, end] });

describe('reading', () => {
	it('reads every type as the safetensors library wrote it, from bytes, blobs and files', async () => {
		const file = await fileSource(fileURLToPath(new URL('all-types.safetensors', folder)));
		for (const source of [bytesSource(golden), blobSource(new Blob([golden])), file]) {
			const { tensors, metadata, readFloat32 } = await openSafetensors(source);
			expect(metadata['format']).toBe('pt');
			expect([...tensors.keys()].sort()).toEqual(Object.keys(expected).sort());
			for (const [name, { shape, values }] of Object.entries(expected)) {
				expect(tensors.get(name)?.shape).toEqual(shape);
				expect(Array.from(await readFloat32(name))).toEqual(values.map(Math.fround));
			}
		}
		await file.close();
	});

	it('reads halves as stored, and rounds wider numbers', async () => {
		const { readHalf } = await open(golden);
		const stored = await readHalf('f16');
		const rounded = await readHalf('b.f32');
		expect(Array.from(rounded)).toEqual(Array.from(stored));
		await expect(readHalf('nothing')).rejects.toMatchObject({ code: 'missing-tensor', where: 'nothing' });
	});

	it('reads only what is asked for', async () => {
		const reads: [number, number][] = [];
		const source = bytesSource(golden);
		const file = await openSafetensors({ size: source.size, read: (o, n) => (reads.push([o, n]), source.read(o, n)) });
		reads.length = 0;
		await file.readFloat32('u8');
		expect(reads).toEqual([[file.tensors.get('u8')?.offset, 3]]);
	});
});

describe('writing', () => {
	it('gives the very bytes of the safetensors library', async () => {
		const { tensors, metadata, readBytes } = await open(golden);
		const again: TensorData[] = [];
		for (const [name, { dtype, shape }] of tensors) again.push({ name, dtype, shape, data: await readBytes(name) });
		expect(Buffer.from(writeSafetensors(again.reverse(), metadata)).equals(Buffer.from(golden))).toBe(true);
	});

	it('refuses data that does not fit its shape, and names given twice', () => {
		const tensor: TensorData = { name: 'a', dtype: 'F32', shape: [2], data: new Float32Array(2) };
		expect(() => writeSafetensors([{ ...tensor, shape: [3] }])).toThrow(RangeError);
		expect(() => writeSafetensors([tensor, tensor])).toThrow('twice');
	});
});

describe('refusals', () => {
	const latin1 = (text: string, size = 200) => Uint8Array.from(text.padEnd(size), (c) => c.charCodeAt(0));
	it.each<[string, FormatError['code'], Uint8Array]>([
		['zero bytes', 'empty', new Uint8Array(0)],
		['three bytes', 'truncated', Uint8Array.of(1, 2, 3)],
		['a git-LFS pointer', 'lfs-pointer', latin1('version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 2\n')],
		['a zip (.ckpt of PyTorch)', 'pickle', latin1('PK\u0003\u0004')],
		['a bare pickle', 'pickle', latin1('\u0080\u0002}q\u0000(X')],
		['a web page', 'html', latin1('\n<!DOCTYPE html><html>')],
		['a GGUF file', 'gguf', latin1('GGUF\u0003')],
		['something else', 'not-safetensors', latin1('hello hello hello')],
		[
			'a header longer than allowed',
			'header-size',
			(() => {
				const bytes = fileOf('{}');
				new DataView(bytes.buffer).setBigUint64(0, 2n ** 62n, true);
				return bytes;
			})()
		],
		['a file that ends in its header', 'truncated', golden.subarray(0, 300)],
		['a file that ends in its data', 'truncated', golden.subarray(0, -1)],
		['one byte too many', 'trailing-data', Uint8Array.from([...golden, 0])],
		['no JSON', 'header-json', fileOf('{"a":')],
		[
			'no UTF-8',
			'header-json',
			(() => {
				const bytes = fileOf('{"abc": 1}');
				bytes[11] = 0xff;
				return bytes;
			})()
		],
		['a key twice', 'duplicate-key', fileOf(`{"a":${entry(0, 4)},"a":${entry(0, 4)}}`, 4)],
		['a key twice, written differently', 'duplicate-key', fileOf(`{"a":${entry(0, 4)},"\\u0061":${entry(0, 4)}}`, 4)],
		['a key twice within an entry', 'duplicate-key', fileOf('{"a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}}', 4)],
		['an entry that is no object', 'header-entry', fileOf('{"a":[1]}')],
		['metadata that is no text', 'header-entry', fileOf('{"__metadata__":{"a":1}}')],
		['an unknown type', 'dtype', fileOf(`{"a":${entry(0, 4, [1], 'F128')}}`, 4)],
		['a type that every object has', 'dtype', fileOf(`{"a":${entry(0, 4, [1], 'toString')}}`, 4)],
		['a negative size', 'shape', fileOf(`{"a":${entry(0, 4, [-1])}}`, 4)],
		['a fractional size', 'shape', fileOf(`{"a":${entry(0, 4, [0.5, 2])}}`, 4)],
		['a shape beyond all bounds', 'shape', fileOf(`{"a":${entry(0, 4, [9e15, 9e15])}}`, 4)],
		['a shape that needs other bytes', 'shape', fileOf(`{"a":${entry(0, 4, [2])}}`, 4)],
		['offsets in the wrong order', 'offsets', fileOf(`{"a":${entry(4, 0, [1])}}`, 4)],
		['an overlap', 'offsets', fileOf(`{"a":${entry(0, 8)},"b":${entry(4, 12)}}`, 12)],
		['a hole', 'offsets', fileOf(`{"a":${entry(0, 4)},"b":${entry(8, 12)}}`, 12)],
		['data outside', 'truncated', fileOf(`{"a":${entry(0, 400)}}`, 4)]
	])('names %s', async (_, code, bytes) => {
		const error = await open(bytes).then(
			() => undefined,
			(reason: unknown) => reason
		);
		expect(error).toBeInstanceOf(FormatError);
		expect(error).toMatchObject({ code });
		expect((error as FormatError).remedy).toMatch(/^[A-Z].*\.$/);
	});

	it('accepts a header whose length looks like the start of a pickle', async () => {
		const name = 'x'.repeat(640 - 2 - entry(0, 4).length - 3);
		const bytes = fileOf(`{"${name}":${entry(0, 4)}}`, 4);
		expect([bytes[0], bytes[1]]).toEqual([0x80, 2]);
		expect((await open(bytes)).tensors.size).toBe(1);
	});
});

describe('mutations', () => {
	/** Never reads outside, never allocates more than the file has. */
	async function survives(bytes: Uint8Array): Promise<void> {
		try {
			const file = await open(bytes);
			for (const [name, { length }] of file.tensors) {
				expect(length).toBeLessThanOrEqual(bytes.length);
				await file.readFloat32(name);
			}
		} catch (error) {
			if (!(error instanceof FormatError)) throw error;
		}
	}

	it('of random bytes end in a FormatError or in a valid file', async () => {
		const edit = fc.record({ at: fc.nat(golden.length - 1), value: fc.nat(255), kind: fc.constantFrom('set', 'insert', 'delete', 'cut') });
		await fc.assert(
			fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 6 }), async (edits) => {
				const bytes = [...golden];
				for (const { at, value, kind } of edits) {
					// Half of the edits go to the header, where they matter.
					const place = value % 2 ? at : at % 1200;
					if (kind === 'set') bytes[Math.min(place, bytes.length - 1)] = value;
					else if (kind === 'insert') bytes.splice(place, 0, value);
					else if (kind === 'delete') bytes.splice(place, 1);
					else if (value < 20) bytes.length = Math.min(bytes.length, place + 1);
				}
				await survives(Uint8Array.from(bytes));
			}),
			{ numRuns: 3000, seed: 1 }
		);
	});

	it('of the header as JSON end in a FormatError or in a valid file', async () => {
		const number = fc.oneof(fc.integer({ min: -5, max: 50 }), fc.constantFrom(2 ** 31, 2 ** 32, 2 ** 53, 1e300, -1, 0.5));
		const tensor = fc.record(
			{
				dtype: fc.oneof(fc.constantFrom('F32', 'F16', 'I64', 'BOOL', 'U4'), fc.anything()),
				shape: fc.oneof(fc.array(number, { maxLength: 4 }), fc.anything()),
				data_offsets: fc.oneof(fc.tuple(number, number), fc.anything())
			},
			{ requiredKeys: [] }
		);
		const names = fc.oneof(fc.string(), fc.constantFrom('a', '__metadata__', '__proto__', 'constructor'));
		await fc.assert(
			fc.asyncProperty(fc.dictionary(names, fc.oneof(tensor, fc.anything())), fc.nat(64), async (header, data) => {
				await survives(fileOf(JSON.stringify(header, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value)) ?? '', data));
			}),
			{ numRuns: 3000, seed: 2 }
		);
	});
});
