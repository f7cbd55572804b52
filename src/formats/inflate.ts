/**
 * Inflation with a limit: a few kilobytes of zlib data can stand for gigabytes.
 * Input goes in by small slices and stops as soon as the output is longer than allowed, so memory stays bounded.
 */
import { Unzlib } from 'fflate';
import { FormatError } from './error';

const SLICE = 4096;

/** @throws FormatError `corrupt` when the data is damaged or inflates to more than `limit` bytes */
export function inflateBounded(data: Uint8Array, limit: number, where: string): Uint8Array {
	const parts: Uint8Array[] = [];
	let size = 0;
	const inflater = new Unzlib((part) => {
		parts.push(part);
		size += part.length;
	});
	try {
		for (let at = 0; at < data.length && size <= limit; at += SLICE) inflater.push(data.subarray(at, at + SLICE), at + SLICE >= data.length);
	} catch {
		throw new FormatError('corrupt', where, 'Compressed data is damaged', 'Copy or save the picture again.');
	}
	if (size > limit) throw new FormatError('corrupt', where, `Compressed data is longer than the ${limit} bytes it should have`, 'Save the picture again.');
	const whole = new Uint8Array(size);
	let at = 0;
	for (const part of parts) {
		whole.set(part, at);
		at += part.length;
	}
	return whole;
}
