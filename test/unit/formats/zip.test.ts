/** Archives are read back by another library. */
import { unzipSync } from 'fflate';
import { describe, expect, test } from 'vitest';
import { crc32 } from '../../../src/formats/crc32';
import { zip } from '../../../src/formats/zip';

const bytes = async (blob: Blob): Promise<Uint8Array> => new Uint8Array(await blob.arrayBuffer());

describe('an archive', () => {
	test('gives every file back under its name', async () => {
		const large = Uint8Array.from({ length: 300_000 }, (_, i) => (i * i) >>> 5);
		const made = await zip(
			[
				{ name: 'あ.safetensors', content: new Blob([large]) },
				{ name: 'previews/1.png', content: new Blob(['png']) },
				{ name: 'empty.txt', content: new Blob([]) }
			],
			new Date(2026, 10, 22, 21, 30, 10)
		);
		const files = unzipSync(await bytes(made));
		expect(Object.keys(files)).toEqual(['あ.safetensors', 'previews/1.png', 'empty.txt']);
		expect(Buffer.compare(files['あ.safetensors'] ?? new Uint8Array(), large)).toBe(0);
		expect(new TextDecoder().decode(files['previews/1.png'])).toBe('png');
		expect(files['empty.txt']?.length).toBe(0);
		// Stored as it is: the archive is the files and their headers.
		expect(made.size).toBeLessThan(large.length + 600);
	});

	test('refuses the same name twice', async () => {
		const file = { name: 'a', content: new Blob(['x']) };
		await expect(zip([file, file], new Date())).rejects.toThrow(/same name twice/);
	});

	test('sums go on where they stopped', () => {
		const text = new TextEncoder().encode('123456789');
		expect(crc32(text)).toBe(0xcbf43926);
		expect(crc32(text.subarray(4), crc32(text.subarray(0, 4)))).toBe(0xcbf43926);
	});
});
