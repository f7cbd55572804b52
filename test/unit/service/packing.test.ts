import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { joined, MAX_HEAD, pack, packWithBlobs, unpack } from '../../../src/service/packing';

const round = (value: unknown): unknown => unpack(joined(pack(value)));

/** What JSON.stringify drops is not part of a message. */
const leaf = fc.oneof(
	fc.string(),
	fc.double(),
	fc.boolean(),
	fc.constant(null),
	fc.uint8Array({ maxLength: 9 }),
	fc.float32Array({ maxLength: 5 }),
	fc.float64Array({ maxLength: 5 }),
	fc.int32Array({ maxLength: 5 }),
	fc.uint8ClampedArray({ maxLength: 9 }),
	fc.uint8Array({ maxLength: 9 }).map((bytes) => bytes.slice().buffer)
);
const key = fc.oneof(fc.string(), fc.constantFrom('$part', '$number', '$object', '$', '__proto__', 'constructor', 'toString'));
const message = fc.letrec((tie) => ({
	node: fc.oneof({ depthSize: 'small' }, leaf, fc.array(tie('node'), { maxLength: 4 }), fc.dictionary(key, tie('node'), { maxKeys: 4, noNullPrototype: true }))
})).node;

describe('messages as bytes', () => {
	it('come back as they were, bit by bit', () => {
		fc.assert(
			fc.property(message, (value) => {
				expect(round(value)).toEqual(value);
			}),
			{ numRuns: 500 }
		);
	});

	it('keep views apart from what lies around them, and Blobs with their type', async () => {
		const large = new Float32Array([9, 1, 2, 9]);
		const back = round({ view: large.subarray(1, 3) }) as { view: Float32Array };
		expect([...back.view]).toEqual([1, 2]);
		expect(back.view.buffer.byteLength).toBe(8);
		const { blob } = unpack(joined(await packWithBlobs({ blob: new Blob(['abc'], { type: 'image/png' }) }))) as { blob: Blob };
		expect([await blob.text(), blob.type]).toEqual(['abc', 'image/png']);
	});

	it('do not touch the prototype of anything', () => {
		const back = round(JSON.parse('{"__proto__": {"polluted": 1}, "a": 1}')) as Record<string, unknown>;
		expect(Object.getPrototypeOf(back)).toBe(Object.prototype);
		expect(Object.hasOwn(back, '__proto__')).toBe(true);
		expect('polluted' in {}).toBe(false);
	});

	it('are refused when cut off anywhere or longer than they say', () => {
		const whole = joined(pack({ a: new Uint8Array([1, 2, 3]), b: 'text' }));
		for (let length = 0; length < whole.length; length++) expect(() => unpack(whole.subarray(0, length))).toThrow(/cannot be read/);
		expect(() => unpack(joined({ pieces: [whole, new Uint8Array(1)], length: whole.length + 1 }))).toThrow(/longer than its parts/);
	});

	it('are values or a refusal, whatever the bytes', () => {
		const whole = joined(pack({ type: 'request', id: 1, request: { data: new Float64Array([1, 2]), n: NaN, o: { $x: 1 } } }));
		fc.assert(
			fc.property(fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 6 }), (changes) => {
				const bytes = whole.slice();
				for (const [at, value] of changes) bytes[at] = value;
				try {
					unpack(bytes);
				} catch (error) {
					expect(error).toMatchObject({ problem: { code: 'wire.malformed' } });
				}
			}),
			{ numRuns: 2000 }
		);
	});

	const headed = (json: string, rest = 0): Uint8Array => {
		const head = new TextEncoder().encode(json);
		const bytes = new Uint8Array(4 + head.length + rest);
		new DataView(bytes.buffer).setUint32(0, head.length, true);
		bytes.set(head, 4);
		return bytes;
	};
	it.each([
		['a part used twice', '{"value":[{"$part":0},{"$part":0}],"parts":[{"kind":"Uint8Array","bytes":1}]}', 1],
		['a part nobody uses', '{"value":1,"parts":[{"kind":"Uint8Array","bytes":1}]}', 1],
		['a part that is not there', '{"value":{"$part":7},"parts":[]}', 0],
		['a part of an unknown type', '{"value":{"$part":0},"parts":[{"kind":"SharedArrayBuffer","bytes":1}]}', 1],
		['a part named like a method', '{"value":{"$part":0},"parts":[{"kind":"toString","bytes":1}]}', 1],
		['a part of negative length', '{"value":{"$part":0},"parts":[{"kind":"Uint8Array","bytes":-1}]}', 0],
		['a part of a fraction', '{"value":{"$part":0},"parts":[{"kind":"Uint8Array","bytes":0.5}]}', 0],
		['a part that cuts a number in two', '{"value":{"$part":0},"parts":[{"kind":"Float64Array","bytes":7}]}', 7],
		[
			'lengths that overflow',
			'{"value":{"$part":0},"parts":[{"kind":"Uint8Array","bytes":9007199254740991},{"kind":"Uint8Array","bytes":9007199254740991}]}',
			0
		],
		['a placeholder with company', '{"value":{"$part":0,"a":1},"parts":[{"kind":"Uint8Array","bytes":1}]}', 1],
		['an unknown placeholder', '{"value":{"$eval":"1"},"parts":[]}', 0],
		['depth', `{"value":${'['.repeat(10_000)}${']'.repeat(10_000)},"parts":[]}`, 0],
		['no parts', '{"value":1}', 0],
		['an array as a head', '[]', 0]
	])('refuse %s', (_, json, rest) => {
		expect(() => unpack(headed(json, rest))).toThrow(/cannot be read/);
	});

	it('refuse a head beyond the limit before reading it', () => {
		const bytes = new Uint8Array(8);
		new DataView(bytes.buffer).setUint32(0, MAX_HEAD + 1, true);
		expect(() => unpack(bytes)).toThrow(/longer than it is/);
	});
});
