/** A write that fails without saying why is told apart by the room that is left (`src/storage/errors.ts`). */
import { afterEach, expect, test, vi } from 'vitest';
import { asWriteError } from '../../../src/storage/errors';

afterEach(() => vi.unstubAllGlobals());

const room = (quota: number, usage: number): void => {
	vi.stubGlobal('navigator', { storage: { estimate: () => Promise.resolve({ quota, usage }) } });
};

test('an unnamed failure of a write that does not fit is a full disk', async () => {
	room(1000, 600);
	const problem = await asWriteError(new DOMException('Something went wrong', 'UnknownError'), 'a.safetensors', 500);
	expect(problem).toMatchObject({ code: 'storage.quota', where: 'a.safetensors' });
});

test('one that would fit stays what it is', async () => {
	room(1000, 600);
	const problem = await asWriteError(new DOMException('Something went wrong', 'UnknownError'), 'a.safetensors', 400);
	expect(problem.code).toBe('storage.failed');
	expect(problem.message).toContain('Something went wrong');
});

test('a known failure keeps its name, however little room there is', async () => {
	room(1000, 1000);
	expect(await asWriteError(new DOMException('Gone', 'NotFoundError'), 'a', 1)).toMatchObject({ code: 'storage.missing' });
});

test('a browser that does not say how much room there is changes nothing', async () => {
	vi.stubGlobal('navigator', { storage: { estimate: () => Promise.reject(new Error('no')) } });
	expect(await asWriteError(new DOMException('x', 'UnknownError'), 'a', 1)).toMatchObject({ code: 'storage.failed' });
});
