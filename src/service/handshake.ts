/**
 * The first words on a helper's WebSocket, as JSON texts; everything after `welcome` is frames (`link.ts`). A client says hello with its token, or gives a pairing code and
 * gets a token. A helper says welcome, or refuses with a problem and closes. Nothing secret ever stands in an address.
 */
import type { Problem } from '../jobs/events';

/** One text message of a handshake. */
export const MAX_HANDSHAKE = 2 ** 16;
/** Open runs and requests a client can speak of when it comes back. */
export const MAX_RESUMED = 256;
export const SOCKET_PATH = '/ws';

/** Close codes of the helper; browsers show only these and their reason, never why an upgrade was refused. */
export const CLOSE = { refused: 4401, broken: 4400, replaced: 4409, ending: 4410 } as const;

export interface HelperInfo {
	/** Of Utsushi. */
	version: string;
	/** A name of this start of the helper: another one has no open model, and its models have other ids. */
	instance: string;
}

export type ClientWords =
	/** `session`: a random name by which a connection that was cut is taken up; `pending`: ids of requests without an answer; `runs`: the last event seen of each open run. */
	| { type: 'hello'; version: number; token: string; session: string; pending: number[]; runs: Record<string, number> }
	| { type: 'pair'; version: number; code: string };

export type HelperWords =
	/** `known`: those of `pending` that arrived; the others have to be sent again. */
	{ type: 'welcome'; version: number; helper: HelperInfo; known: number[] } | { type: 'paired'; token: string } | { type: 'refused'; problem: Problem };

/** What travels in frames. `got`: answers that arrived, so that the helper can forget them. */
export type ClientMessage = { type: 'request'; id: number; request: unknown } | { type: 'got'; ids: number[] };

function isRecord(value: unknown): value is Record<string, unknown> {
	return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const isWhole = (value: unknown): value is number => typeof value === 'number' && Number.isSafeInteger(value) && value >= -1;

/** undefined: these are no words of a client. */
export function readClientWords(text: string): ClientWords | undefined {
	if (text.length > MAX_HANDSHAKE) return undefined;
	let value: unknown;
	try {
		value = JSON.parse(text);
	} catch {
		return undefined;
	}
	if (!isRecord(value) || !isWhole(value['version'])) return undefined;
	const { type, version, token, session, pending, runs, code } = value;
	if (type === 'pair' && typeof code === 'string' && code.length <= 100) return { type, version, code };
	if (type !== 'hello' || typeof token !== 'string' || token.length > 200 || typeof session !== 'string' || !/^[\w-]{16,64}$/.test(session)) return undefined;
	if (!Array.isArray(pending) || pending.length > MAX_RESUMED || !pending.every(isWhole)) return undefined;
	if (!isRecord(runs)) return undefined;
	const entries = Object.entries(runs);
	if (entries.length > MAX_RESUMED || !entries.every((entry): entry is [string, number] => isWhole(entry[1]))) return undefined;
	return { type, version, token, session, pending, runs: Object.fromEntries(entries) };
}

/** undefined: this is no helper of ours. */
export function readHelperWords(text: string): HelperWords | undefined {
	let value: unknown;
	try {
		value = JSON.parse(text);
	} catch {
		return undefined;
	}
	if (!isRecord(value)) return undefined;
	const { type, version, helper, known, token, problem } = value;
	if (type === 'paired' && typeof token === 'string') return { type, token };
	if (type === 'refused' && isRecord(problem) && typeof problem['code'] === 'string' && typeof problem['message'] === 'string')
		return { type, problem: problem as unknown as Problem };
	if (type !== 'welcome' || !isWhole(version) || !isRecord(helper) || !Array.isArray(known)) return undefined;
	const { version: of, instance } = helper;
	if (typeof of !== 'string' || typeof instance !== 'string') return undefined;
	return { type, version, helper: { version: of, instance }, known: known.filter(isWhole) };
}
