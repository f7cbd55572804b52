/**
 * JSON without silent losses: `JSON.parse` keeps the last of two equal keys, here that is an error.
 * A header with a key twice is read differently by different programs, so no reading of it can be trusted.
 */
import { FormatError } from './error';

const AGAIN = 'The file is damaged or was made to mislead; get it from its original source.';

/** @throws FormatError `header-json` for invalid JSON, `duplicate-key` when an object has a key twice */
export function parseJsonStrictly(text: string): unknown {
	let value: unknown;
	try {
		value = JSON.parse(text);
	} catch {
		throw new FormatError('header-json', 'header', 'The header is not valid JSON', AGAIN);
	}
	const twice = findDuplicateKey(text);
	if (twice !== undefined) throw new FormatError('duplicate-key', twice.slice(0, 200), 'The header names the same key twice', AGAIN);
	return value;
}

/** One pass over valid JSON; objects on the stack are sets of their keys so far, arrays are null. */
function findDuplicateKey(text: string): string | undefined {
	const stack: (Set<string> | null)[] = [];
	let keyNext = false;
	for (let i = 0; i < text.length; i++) {
		switch (text.charAt(i)) {
			case '{':
				stack.push(new Set());
				keyNext = true;
				break;
			case '[':
				stack.push(null);
				keyNext = false;
				break;
			case '}':
			case ']':
				stack.pop();
				keyNext = false;
				break;
			case ',':
				keyNext = stack.at(-1) !== null;
				break;
			case '"': {
				const start = i++;
				while (text[i] !== '"') i += text[i] === '\\' ? 2 : 1;
				const keys = stack.at(-1);
				if (keyNext && keys) {
					const key = JSON.parse(text.slice(start, i + 1)) as string;
					if (keys.has(key)) return key;
					keys.add(key);
				}
				keyNext = false;
				break;
			}
		}
	}
	return undefined;
}
