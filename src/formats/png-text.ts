/**
 * Text in PNG: `tEXt` is Latin-1, `iTXt` is UTF-8, `zTXt` is compressed Latin-1. Generation parameters live under the keyword `parameters`.
 * The rule: Latin-1 text is written as tEXt, which every program reads; everything else as iTXt, which is where the standard wants it.
 * Source: PNG (Third Edition), section 11.3.3.
 */
import { FormatError } from './error';
import { inflateBounded } from './inflate';
import { readChunks, writeChunks, type PngChunk } from './png-chunks';

/** Compressed text beyond this is refused. */
const MAX_TEXT = 16 << 20;

/** Keyword → text; the first of two equal keywords counts. @throws FormatError as `readChunks`, or `text-chunk` */
export function readPngText(png: Uint8Array): Map<string, string> {
	const text = new Map<string, string>();
	for (const chunk of readChunks(png)) {
		const entry = decodeText(chunk);
		if (entry && !text.has(entry[0])) text.set(...entry);
	}
	return text;
}

/** Adds text behind the header, where readers that stop at the pixels still see it. */
export function addPngText(png: Uint8Array, text: Iterable<readonly [keyword: string, value: string]>): Uint8Array {
	const chunks = readChunks(png);
	chunks.splice(1, 0, ...Array.from(text, ([keyword, value]) => encodeText(keyword, value)));
	return writeChunks(chunks);
}

function encodeText(keyword: string, value: string): PngChunk {
	if (!/^[\x21-\x7e\xa1-\xff](?:[\x20-\x7e\xa1-\xff]{0,77}[\x21-\x7e\xa1-\xff])?$/.test(keyword)) {
		throw new RangeError(`"${keyword}" cannot be a PNG keyword: 1 to 79 Latin-1 characters, no blanks at the ends`);
	}
	// exactly the characters of Latin-1 that a tEXt chunk may hold
	return /^[\n\x20-\x7e\xa0-\xff]*$/.test(value)
		? { type: 'tEXt', data: Uint8Array.from(`${keyword}\0${value}`, (c) => c.charCodeAt(0)) }
		: { type: 'iTXt', data: Uint8Array.from([...latin1Bytes(`${keyword}\0\0\0\0\0`), ...new TextEncoder().encode(value)]) };
}

function decodeText({ type, data }: PngChunk): [string, string] | undefined {
	if (type !== 'tEXt' && type !== 'iTXt' && type !== 'zTXt') return undefined;
	const end = data.indexOf(0);
	if (end < 1) throw damaged(type);
	const keyword = latin1(data.subarray(0, end));
	if (type === 'tEXt') return [keyword, latin1(data.subarray(end + 1))];
	if (type === 'zTXt') return [keyword, latin1(inflateBounded(data.subarray(end + 2), MAX_TEXT, 'chunk zTXt'))];
	const language = data.indexOf(0, end + 3);
	const translated = language < 0 ? -1 : data.indexOf(0, language + 1);
	if (translated < 0) throw damaged(type);
	const body = data.subarray(translated + 1);
	const utf8 = data[end + 1] === 1 ? inflateBounded(body, MAX_TEXT, 'chunk iTXt') : body;
	return [keyword, new TextDecoder().decode(utf8)];
}

function latin1Bytes(text: string): number[] {
	return Array.from(text, (c) => c.charCodeAt(0));
}

/** Byte for code point; `TextDecoder('latin1')` would be windows-1252. */
function latin1(bytes: Uint8Array): string {
	let text = '';
	for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
	return text;
}

function damaged(type: string): FormatError {
	return new FormatError('text-chunk', `chunk ${type}`, 'A text in the picture is damaged', 'Save the picture again from the program that made it.');
}
