/**
 * Who may talk to the helper: pairing codes, the tokens they are exchanged for, and the origins its owner allowed. All of it lies in `pairings.json` of the config folder
 * (readable by its owner only) and is read afresh whenever somebody knocks, so that `utsushi pair` works on a helper that is running.
 *
 * Rules
 * - A code is shown in a terminal, works once, for ten minutes, and stands in the file only as a hash. Eight characters of 32: 2^40.
 * - Wrong codes are counted: after five within a minute nobody can pair for a minute, and the codes are void. A guess has a chance of about one in 10^11.
 * - A token is 256 random bits, bound to the origin it was given to, kept as a SHA-256, compared in constant time, and can be taken back.
 */
import { createHash, randomBytes, randomInt, timingSafeEqual } from 'node:crypto';
import { mkdir, open, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Problem } from '../jobs/events';
import { errorProblem } from '../jobs/problem';
import { configFolder, readConfigFile, writeConfigFile } from './configFolder';

const FILE = 'pairings.json';
/** Without letters that are taken for others. */
const LETTERS = 'ABCDEFGHJKLMNPQRSTUVWXYZ23456789';
const CODE_LENGTH = 8;
const CODE_MINUTES = 10;
const MAX_CODES = 8;
const MAX_PAIRINGS = 100;
const MAX_FAILURES = 5;
const PAUSE_MS = 60_000;

export interface Pairing {
	/** For `utsushi pair --revoke`. */
	id: string;
	origin: string;
	/** Milliseconds since the epoch. */
	since: number;
	hash: string;
}

interface Stored {
	pairings: Pairing[];
	codes: { hash: string; until: number }[];
	origins: string[];
}

function hashOf(secret: string): string {
	return createHash('sha256').update(secret).digest('hex');
}

/** Takes as long for a wrong hash as for the right one. */
function equal(a: string, b: string): boolean {
	const [left, right] = [Buffer.from(a), Buffer.from(b)];
	return left.length === right.length && timingSafeEqual(left, right);
}

/** As people type it: any case, with or without the dash. */
function plainCode(code: string): string {
	return code.toUpperCase().replace(/[^A-Z0-9]/g, '');
}

function isPairing(value: unknown): value is Pairing {
	if (typeof value !== 'object' || value === null || !('id' in value && 'origin' in value && 'hash' in value && 'since' in value)) return false;
	return typeof value.id === 'string' && typeof value.origin === 'string' && typeof value.hash === 'string' && typeof value.since === 'number';
}

function isCode(value: unknown): value is { hash: string; until: number } {
	return (
		typeof value === 'object' && value !== null && 'hash' in value && typeof value.hash === 'string' && 'until' in value && typeof value.until === 'number'
	);
}

function listOf<T>(stored: unknown, key: string, is: (value: unknown) => value is T): T[] {
	const list: unknown = typeof stored === 'object' && stored !== null ? Object.entries(stored).find(([name]) => name === key)?.[1] : undefined;
	return Array.isArray(list) ? list.filter(is) : [];
}

/** `https://example.org`, in the form a browser sends; undefined when it is no origin of a page. */
export function plainOrigin(text: string): string | undefined {
	try {
		const { origin, protocol } = new URL(text);
		return (protocol === 'https:' || protocol === 'http:') && origin !== 'null' ? origin : undefined;
	} catch {
		return undefined;
	}
}

export class Pairings {
	readonly #failures: number[] = [];
	#pausedUntil = 0;
	/** Changes of this process come one after the other. */
	#changing: Promise<unknown> = Promise.resolve();

	constructor(
		private readonly folder = configFolder(),
		private readonly now: () => number = Date.now
	) {}

	async #read(): Promise<Stored> {
		const stored = await readConfigFile(this.folder, FILE);
		return {
			pairings: listOf(stored, 'pairings', isPairing),
			codes: listOf(stored, 'codes', isCode).filter(({ until }) => until > this.now()),
			origins: listOf(stored, 'origins', (value): value is string => typeof value === 'string')
		};
	}

	#change<T>(change: (stored: Stored) => T): Promise<T> {
		const changed = this.#changing.then(() => this.#changeNow(change));
		this.#changing = changed.catch(() => undefined);
		return changed;
	}

	async #changeNow<T>(change: (stored: Stored) => T): Promise<T> {
		const release = await this.#lock();
		try {
			const stored = await this.#read();
			const result = change(stored);
			await writeConfigFile(this.folder, FILE, stored);
			return result;
		} finally {
			await release();
		}
	}

	/** Two processes (a helper, `utsushi pair`) never change the file at once; a lock that was left behind is old. */
	async #lock(): Promise<() => Promise<void>> {
		const path = join(this.folder, `.${FILE}.lock`);
		await mkdir(this.folder, { recursive: true, mode: 0o700 });
		for (let attempt = 0; attempt < 200; attempt++) {
			try {
				await (await open(path, 'wx', 0o600)).close();
				return () => rm(path, { force: true });
			} catch (error) {
				if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
				const age = Date.now() - ((await stat(path).catch(() => undefined))?.mtimeMs ?? 0);
				if (age > 5000) await rm(path, { force: true });
				await new Promise((resolve) => setTimeout(resolve, 20));
			}
		}
		return () => Promise.resolve();
	}

	/** A fresh code to show, `ABCD-EFGH`. */
	async newCode(): Promise<string> {
		const letters = Array.from({ length: CODE_LENGTH }, () => LETTERS[randomInt(LETTERS.length)] ?? 'A').join('');
		await this.#change((stored) => {
			stored.codes = [...stored.codes, { hash: hashOf(letters), until: this.now() + CODE_MINUTES * 60_000 }].slice(-MAX_CODES);
		});
		return `${letters.slice(0, 4)}-${letters.slice(4)}`;
	}

	/** A token for the code, or why not. */
	async redeem(code: string, origin: string): Promise<{ token: string; pairing: Pairing } | { problem: Problem }> {
		const now = this.now();
		if (now < this.#pausedUntil) {
			const seconds = Math.ceil((this.#pausedUntil - now) / 1000);
			const message = `Too many wrong codes. Wait ${seconds} seconds, then show a new code with “utsushi pair” and enter that.`;
			return { problem: errorProblem('pairing.wait', 'pairing', message, { seconds }) };
		}
		const given = hashOf(plainCode(code));
		const found = await this.#change((stored) => {
			const matches = stored.codes.filter(({ hash }) => equal(hash, given));
			if (matches.length === 0) return undefined;
			stored.codes = stored.codes.filter((known) => !matches.includes(known));
			const token = randomBytes(32).toString('base64url');
			const pairing: Pairing = { id: randomBytes(4).toString('hex'), origin, since: now, hash: hashOf(token) };
			stored.pairings = [...stored.pairings, pairing].slice(-MAX_PAIRINGS);
			return { token, pairing };
		});
		if (found) {
			this.#failures.length = 0;
			return found;
		}
		this.#failures.push(now);
		while ((this.#failures[0] ?? now) < now - PAUSE_MS) this.#failures.shift();
		if (this.#failures.length >= MAX_FAILURES) {
			this.#pausedUntil = now + PAUSE_MS;
			this.#failures.length = 0;
			await this.#change((stored) => (stored.codes = []));
		}
		return {
			problem: errorProblem(
				'pairing.code',
				'pairing',
				'This pairing code is not valid (any more): each works once, for ten minutes. Show a new one with “utsushi pair” and enter that.'
			)
		};
	}

	/** The pairing a token belongs to; undefined when it is none of this origin. */
	async find(token: string, origin: string): Promise<Pairing | undefined> {
		const given = hashOf(token);
		let found: Pairing | undefined;
		// All are compared, so that time says nothing about which one it was.
		for (const pairing of (await this.#read()).pairings) if (equal(pairing.hash, given) && pairing.origin === origin) found = pairing;
		return found;
	}

	async list(): Promise<Pairing[]> {
		return (await this.#read()).pairings;
	}

	/** Origins other than the helper's own that its owner allowed. */
	async origins(): Promise<string[]> {
		return (await this.#read()).origins;
	}

	allow(origin: string): Promise<void> {
		return this.#change((stored) => {
			if (!stored.origins.includes(origin)) stored.origins.push(origin);
		});
	}

	/** Forgets an origin and everything paired from it. */
	disallow(origin: string): Promise<boolean> {
		return this.#change((stored) => {
			const known = stored.origins.includes(origin);
			stored.origins = stored.origins.filter((item) => item !== origin);
			stored.pairings = stored.pairings.filter((pairing) => pairing.origin !== origin);
			return known;
		});
	}

	/** By id, or all; returns how many there were. */
	revoke(id: string): Promise<number> {
		return this.#change((stored) => {
			const before = stored.pairings.length;
			stored.pairings = stored.pairings.filter((pairing) => id !== 'all' && pairing.id !== id);
			return before - stored.pairings.length;
		});
	}
}
