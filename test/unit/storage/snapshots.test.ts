/** Snapshots survive a kill at any byte of writing one, values come back bit by bit, and content is stored once. */
import fc from 'fast-check';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packValue, unpackValue } from '../../../src/formats/packed';
import { bytesSource } from '../../../src/formats/source';
import { contentKeys, deflateContent, inflateContent, type ContentStore } from '../../../src/storage/queue-content';
import { folderSlots } from '../../../src/storage/snapshots/node';
import { memorySlots, snapshotStore, type Slots } from '../../../src/storage/snapshots/snapshots';

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);
const text = (body: Uint8Array | undefined): string | undefined => body && new TextDecoder().decode(body);
const body = (value: string): Uint8Array => new TextEncoder().encode(value);

let folder: string;
beforeAll(async () => {
	folder = await mkdtemp(join(tmpdir(), 'utsushi-snapshots-'));
});
afterAll(() => rm(folder, { recursive: true }));

describe.each([
	['in memory', () => memorySlots()],
	['on disk', () => folderSlots(join(folder, 'snapshots'))]
])('%s', (_name, open) => {
	it('the newest whole one counts, jobs keep apart, parts are kept once', async () => {
		const slots = open();
		const store = snapshotStore(slots);
		expect(await store.load('one')).toBeUndefined();
		for (let n = 1; n <= 5; n++) await store.save('one', body(`one ${n}`));
		await store.save('two', body('two'));
		await store.keep('one', 'copier', body('copier'));
		expect(text(await snapshotStore(slots).load('one'))).toBe('one 5');
		expect(text(await snapshotStore(slots).loadKept('one', 'copier'))).toBe('copier');
		expect((await store.jobs()).sort()).toEqual(['one', 'two']);
		await store.remove('one');
		expect(await store.jobs()).toEqual(['two']);
		expect(text(await store.load('two'))).toBe('two');
		await store.remove('two');
		expect(await slots.list()).toEqual([]);
	});
});

describe('a kill while a snapshot is written', () => {
	/** Writes whole files until the given one, of which only the first bytes arrive (and then nothing more). */
	function dying(slots: Slots, survives: number, arrived: number, rest: 'gone' | 'zeros' | 'old'): Slots {
		let writes = 0;
		return {
			...slots,
			async write(key, parts) {
				if (writes++ < survives) return slots.write(key, parts);
				const whole = bytes(...parts.flatMap((part) => [...part]));
				const old = (await slots.read(key)) ?? bytes();
				const tail = rest === 'gone' ? bytes() : rest === 'zeros' ? new Uint8Array(whole.length - arrived) : old.subarray(arrived);
				await slots.write(key, [whole.subarray(0, arrived), tail]);
				throw new Error('killed');
			}
		};
	}

	it('leaves the one before, wherever it comes', async () => {
		await fc.assert(
			fc.asyncProperty(
				fc.integer({ min: 1, max: 4 }),
				fc.double({ min: 0, max: 1, noNaN: true }),
				fc.constantFrom('gone', 'zeros', 'old'),
				async (before, part, rest) => {
					const slots = memorySlots();
					const length = 48 + 'state 9'.length;
					const arrived = Math.min(length - 1, Math.floor(part * length));
					const store = snapshotStore(dying(slots, before, arrived, rest));
					for (let n = 1; n <= before; n++) await store.save('job', body(`state ${n}`));
					await expect(store.save('job', body('state 9'))).rejects.toThrow('killed');
					expect(text(await snapshotStore(slots).load('job'))).toBe(`state ${before}`);
					// And the next one goes where the broken one is.
					const next = snapshotStore(slots);
					await next.save('job', body('after'));
					expect(text(await snapshotStore(slots).load('job'))).toBe('after');
				}
			),
			{ numRuns: 150 }
		);
	});

	it('never takes a foreign or changed file for a snapshot', async () => {
		const path = join(folder, 'foreign');
		const store = snapshotStore(folderSlots(path));
		await store.save('job', body('first'));
		await store.save('job', body('second'));
		for (const name of await readdir(path)) await writeFile(join(path, name), 'something else that is long enough to be read as a header at all');
		expect(await snapshotStore(folderSlots(path)).load('job')).toBeUndefined();
		await expect(store.save('../job', body('x'))).rejects.toMatchObject({ code: 'storage.failed' });
	});
});

describe('packed values', () => {
	it('come back bit by bit', async () => {
		const value = {
			numbers: [0, -0, NaN, Infinity, -Infinity, 1e-310, 0.1, 2 ** 53],
			text: '写し',
			nothing: null,
			nested: [{ yes: true }, []],
			floats: Float32Array.of(1.5, -0, NaN, 3e-45),
			doubles: Float64Array.of(Math.PI, -0),
			words: Uint32Array.of(0xffffffff, 1),
			state: Uint8Array.of(0, 255),
			empty: new Float32Array(0)
		};
		const back = await unpackValue(bytesSource(packValue(value)));
		expect(back).toEqual(value);
		await expect(unpackValue(bytesSource(packValue(value).subarray(0, 40)))).rejects.toThrow();
	});
});

describe('content of a job', () => {
	it('is stored once, comes back as it was, and is found again for cleaning up', async () => {
		const stored = new Map<string, Uint8Array>();
		let puts = 0;
		const content: ContentStore = {
			has: (key) => Promise.resolve(stored.has(key)),
			put: (key, data) => {
				puts++;
				stored.set(key, data);
				return Promise.resolve();
			},
			get: (key) => Promise.resolve(stored.get(key)),
			keys: () => Promise.resolve([...stored.keys()]),
			remove: (key) => Promise.resolve(void stored.delete(key))
		};
		const picture = (seed: number, width: number, height: number) => ({
			width,
			height,
			data: Uint8ClampedArray.from({ length: width * height * 4 }, (_, i) => (i * seed) % 256)
		});
		const request = {
			original: picture(7, 6, 4),
			target: picture(3, 6, 4),
			again: picture(7, 6, 4),
			other: picture(7, 4, 6),
			list: [{ file: bytes(1, 2, 3).buffer }],
			n: 5,
			none: null
		};
		const flat = await deflateContent(request, content);
		expect(puts).toBe(4);
		expect(JSON.parse(JSON.stringify(flat))).toEqual(flat);
		expect(new Set(contentKeys(flat))).toEqual(new Set(stored.keys()));
		expect(await inflateContent(flat, content)).toEqual(request);
		stored.clear();
		await expect(inflateContent(flat, content)).rejects.toMatchObject({ code: 'storage.missing' });
	});
});
