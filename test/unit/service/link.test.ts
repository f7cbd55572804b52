import { afterEach, describe, expect, it, vi } from 'vitest';
import { Budget, Link, MAX_FRAME, WINDOW, type LinkOptions } from '../../../src/service/link';
import { joined, pack } from '../../../src/service/packing';

const MEGABYTE = 2 ** 20;

function end(change: Partial<LinkOptions> = {}) {
	const sent: Uint8Array<ArrayBuffer>[] = [];
	const got: Uint8Array[] = [];
	const broken: string[] = [];
	const link = new Link({
		send: (frame) => sent.push(frame),
		onMessage: (message) => void got.push(message),
		onBroken: ({ problem }) => broken.push(problem.code),
		maxMessage: 64 * MEGABYTE,
		stallMs: 50,
		...change
	});
	return { link, sent, got, broken };
}

const bytesIn = (frames: readonly Uint8Array[]): number => frames.reduce((sum, { length }) => sum + length, 0);
const begin = (length: number, bytes = new Uint8Array(1)): Uint8Array => {
	const frame = new Uint8Array(8 + bytes.length);
	frame[0] = 1;
	new DataView(frame.buffer).setUint32(4, length, true);
	frame.set(bytes, 8);
	return frame;
};
const more = (length: number): Uint8Array => {
	const frame = new Uint8Array(1 + length);
	frame[0] = 2;
	return frame;
};

/** Carries frames both ways until nothing moves. */
function carry(a: ReturnType<typeof end>, b: ReturnType<typeof end>): void {
	while (a.sent.length + b.sent.length > 0) {
		for (const frame of a.sent.splice(0)) b.link.receive(frame);
		for (const frame of b.sent.splice(0)) a.link.receive(frame);
	}
}

afterEach(() => vi.useRealTimers());

describe('a link', () => {
	it('brings messages of any size whole and in order', async () => {
		const [a, b] = [end(), end()];
		const values = [1, 'x', new Uint8Array(10 * MEGABYTE).fill(7), { y: new Float32Array(3 * MAX_FRAME) }, ''];
		const all = values.map((value) => a.link.send(pack(value)));
		for (let round = 0; round < 100; round++) {
			carry(a, b);
			await Promise.resolve();
		}
		await Promise.all(all);
		// Compared as bytes: an assertion on megabytes takes minutes.
		expect(b.got.map((message, i) => Buffer.compare(message, joined(pack(values[i]))))).toEqual(values.map(() => 0));
		expect(a.link.idle).toBe(true);
		expect([a.broken, b.broken]).toEqual([[], []]);
	});

	it('never has more than a window on the way to somebody who does not acknowledge, and gives up on them', () => {
		vi.useFakeTimers();
		const a = end();
		void a.link.send(pack(new Uint8Array(32 * MEGABYTE)));
		for (let i = 0; i < 100; i++) void a.link.send(pack(i));
		expect(bytesIn(a.sent)).toBeLessThanOrEqual(WINDOW);
		expect(bytesIn(a.sent)).toBeGreaterThan(WINDOW - MAX_FRAME);
		expect(a.broken).toEqual([]);
		vi.advanceTimersByTime(60);
		expect(a.broken).toEqual(['wire.stalled']);
	});

	it('acknowledges what was dealt with, not what has come', async () => {
		let go: () => void = () => undefined;
		const gate = new Promise<void>((resolve) => (go = resolve));
		const [a, b] = [end({ stallMs: 60_000 }), end({ onMessage: () => gate })];
		for (let i = 0; i < 12; i++) void a.link.send(pack(new Uint8Array(MEGABYTE / 2)));
		carry(a, b);
		expect(a.link.idle).toBe(false);
		go();
		for (let round = 0; round < 50 && !a.link.idle; round++) {
			await Promise.resolve();
			carry(a, b);
		}
		expect(a.link.idle).toBe(true);
		a.link.close();
	});

	it.each([
		['a length above the limit', [begin(64 * MEGABYTE + 1)], 'wire.tooLarge'],
		['4 GiB', [begin(0xffffffff)], 'wire.tooLarge'],
		['more bytes than announced', [begin(4, new Uint8Array(5))], 'wire.malformed'],
		['more bytes than announced, later', [begin(4, new Uint8Array(2)), more(3)], 'wire.malformed'],
		['a message inside of another', [begin(4), begin(4)], 'wire.malformed'],
		['a piece of nothing', [more(1)], 'wire.malformed'],
		['an empty piece', [begin(4), more(0)], 'wire.malformed'],
		['an empty frame', [new Uint8Array(0)], 'wire.malformed'],
		['an unknown kind', [new Uint8Array([77, 1, 2])], 'wire.malformed'],
		['a short beginning', [new Uint8Array([1, 0, 0])], 'wire.malformed'],
		['a frame above the limit', [begin(MEGABYTE, new Uint8Array(MAX_FRAME))], 'wire.malformed'],
		['an acknowledgement of what was never sent', [new Uint8Array([3, 0, 0, 0, 1, 0, 0, 0])], 'wire.malformed'],
		['a short acknowledgement', [new Uint8Array([3, 0])], 'wire.malformed']
	])('ends at %s', (_, frames, code) => {
		const b = end();
		for (const frame of frames) b.link.receive(frame);
		expect(b.broken).toEqual([code]);
		expect(b.got).toEqual([]);
		b.link.receive(begin(1, new Uint8Array(1)));
		expect(b.got).toEqual([]);
	});

	it('ends when more comes than the window allows, however small', () => {
		const b = end({ onMessage: () => new Promise<void>(() => undefined) });
		for (let i = 0; i < WINDOW / MAX_FRAME + 2; i++) b.link.receive(begin(MAX_FRAME - 8, new Uint8Array(MAX_FRAME - 8)));
		expect(b.broken).toEqual(['wire.malformed']);
	});

	it('does not wait for ever for the rest of a message, not even of a trickle', () => {
		vi.useFakeTimers();
		const b = end();
		b.link.receive(begin(MEGABYTE, new Uint8Array(10)));
		for (let i = 0; i < 5; i++) {
			vi.advanceTimersByTime(12);
			b.link.receive(more(1));
		}
		expect(b.broken).toEqual(['wire.stalled']);
	});

	it('shares a budget of half messages, and gives its part back', () => {
		const budget = new Budget(3 * MEGABYTE);
		const [b, c, d] = [end({ budget }), end({ budget }), end({ budget })];
		b.link.receive(begin(2 * MEGABYTE));
		c.link.receive(begin(2 * MEGABYTE));
		expect([b.broken, c.broken]).toEqual([[], ['wire.busy']]);
		b.link.close();
		expect(budget.left).toBe(budget.bytes);
		const message = joined(pack('x'));
		d.link.receive(begin(message.length, message));
		expect(d.got.length).toBe(1);
	});
});
