/**
 * Checkpoints broken in thousands of ways: each is either a whole valid file or ends in an error of ours, at once, without reading more than the header. The files are as large as real ones
 * (their data is never there: a source that is asked for it fails the test).
 */
import { describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../../src/diffusion/checkpoint';
import { FormatError } from '../../../src/formats/error';
import type { ByteSource } from '../../../src/formats/source';
import { checkpointTensors } from '../../../tools/synthetic/layout.mjs';

/** Header of a checkpoint in halves, and the whole file's size. */
function checkpointHeader(family: 'sd15' | 'sdxl' | 'tiny'): { bytes: Uint8Array; size: number } {
	let at = 0;
	const entries = checkpointTensors(family).map(({ name, shape }) => {
		const begin = at;
		at += 2 * shape.reduce((a, b) => a * b, 1);
		return [name, { dtype: 'F16', shape, data_offsets: [begin, at] }];
	});
	const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)));
	const bytes = new Uint8Array(8 + json.length);
	new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
	bytes.set(json, 8);
	return { bytes, size: bytes.length + at };
}

/** A file of which only the beginning exists; what lies behind it may be asked for only as far as a false header length reaches. */
class Stump implements ByteSource {
	read: ByteSource['read'];
	/** Bytes asked for. */
	asked = 0;

	constructor(
		start: Uint8Array,
		readonly size: number
	) {
		this.read = (offset, length) => {
			expect(offset + length, 'stays inside the file').toBeLessThanOrEqual(size);
			this.asked += length;
			const bytes = new Uint8Array(length);
			bytes.set(start.subarray(offset, Math.min(offset + length, start.length)));
			return Promise.resolve(bytes);
		};
	}
}

/** mulberry32 */
function random(seed: number): (below: number) => number {
	let state = seed;
	return (below) => {
		state = (state + 0x6d2b79f5) | 0;
		let t = Math.imul(state ^ (state >>> 15), 1 | state);
		t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
		return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
	};
}

interface Broken {
	readonly bytes: Uint8Array;
	readonly size: number;
}

const splice = (bytes: Uint8Array, at: number, remove: number, insert: Uint8Array): Uint8Array => {
	const out = new Uint8Array(bytes.length - remove + insert.length);
	out.set(bytes.subarray(0, at));
	out.set(insert, at);
	out.set(bytes.subarray(at + remove), at + insert.length);
	return out;
};

const JUNK = [
	'"',
	'{',
	'}',
	'[',
	']',
	',',
	':',
	'\\',
	'\\u0000',
	'\u0000',
	'-1',
	'1e309',
	'9007199254740993',
	'"__proto__":{},',
	'"__metadata__":{"a":1},',
	' '.repeat(300),
	'[['.repeat(200)
];
const text = (of: string): Uint8Array => new TextEncoder().encode(of);

/** One of the ways in which a download, a disk or a program spoils a file. */
function spoil({ bytes, size }: Broken, draw: (below: number) => number): Broken {
	const at = 8 + draw(bytes.length - 8);
	switch (draw(8)) {
		case 0:
			return { bytes, size: draw(size) };
		case 1: {
			const cut = bytes.subarray(0, at);
			return { bytes: cut, size: cut.length };
		}
		case 2:
			return { bytes, size: size + 1 + draw(1 << 20) };
		case 3: {
			const length = [0n, 1n, BigInt(draw(bytes.length)), BigInt(bytes.length), 99_999_999n, 1n << 31n, 1n << 40n, (1n << 64n) - 1n][draw(8)] ?? 0n;
			const other = bytes.slice();
			new DataView(other.buffer).setBigUint64(0, length, true);
			return { bytes: other, size };
		}
		case 4: {
			const other = bytes.slice();
			for (let i = 0; i <= draw(4); i++) other[8 + draw(bytes.length - 8)] = draw(256);
			return { bytes: other, size };
		}
		case 5: {
			// A block of zeros, as a sparse download leaves it.
			const other = bytes.slice();
			other.fill(0, at, at + draw(4096));
			return { bytes: other, size };
		}
		case 6: {
			const piece = text(JUNK[draw(JUNK.length)] ?? '');
			const other = splice(bytes, at, draw(2) * piece.length, piece);
			if (draw(2) === 0) new DataView(other.buffer).setBigUint64(0, BigInt(other.length - 8), true);
			return { bytes: other, size: size + other.length - bytes.length };
		}
		default: {
			// A digit of a shape or an offset.
			const other = bytes.slice();
			let digit = at;
			while (digit < other.length && !((other[digit] ?? 0) >= 0x30 && (other[digit] ?? 0) <= 0x39)) digit++;
			if (digit < other.length) other[digit] = 0x30 + draw(10);
			return { bytes: other, size };
		}
	}
}

describe('a checkpoint of full size', () => {
	it.each([
		['sdxl', 60],
		['sd15', 300],
		['tiny', 2500]
	] as const)('%s, broken in %i ways, is refused at once and in words', async (family, times) => {
		const whole = checkpointHeader(family);
		const draw = random(times);
		const opened = await openCheckpoint(new Stump(whole.bytes, whole.size)).catch((error: unknown) => error);
		if (family !== 'tiny') expect(opened).not.toBeInstanceOf(Error);
		const codes = new Map<string, number>();
		let slowest = 0;
		for (let i = 0; i < times; i++) {
			let broken: Broken = whole;
			for (let n = 0; n <= draw(2); n++) broken = spoil(broken, draw);
			const source = new Stump(broken.bytes, broken.size);
			const started = process.cpuUsage();
			const outcome = await openCheckpoint(source).then(
				() => 'valid',
				(error: unknown) => {
					if (!(error instanceof FormatError)) throw error;
					expect(error.message.length).toBeGreaterThan(20);
					return error.code;
				}
			);
			// Of the processor, so that what else the machine does is not counted.
			const { user, system } = process.cpuUsage(started);
			slowest = Math.max(slowest, (user + system) / 1000);
			codes.set(outcome, (codes.get(outcome) ?? 0) + 1);
			// Never the data; a false length may reach into it, as far as a header may be long.
			expect(source.asked).toBeLessThan(100_100_000);
		}
		expect(slowest).toBeLessThan(1000);
		expect(codes.size, JSON.stringify([...codes])).toBeGreaterThan(4);
		expect(codes.get('valid') ?? 0).toBeLessThan(times / 4);
	});
});
