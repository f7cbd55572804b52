/**
 * What this browser knows of the helper: its address and the token it gave to this page, kept in localStorage (another site cannot read it, and the token is good for this
 * origin only), and where new runs are to go. Small, because the first load has it; the connection itself is `connection.svelte.ts`.
 */
export const DEFAULT_PORT = 5757;

export interface Pairing {
	/** `ws://127.0.0.1:5757/ws` */
	url: string;
	token: string;
	/** Milliseconds since the epoch. */
	since: number;
}

export const WISHES = ['here', 'helper', 'automatic'] as const;
export type Wish = (typeof WISHES)[number];

const KEY = 'utsushi.helper';
const WISH_KEY = 'utsushi.place';

function stored(key: string): string | null {
	try {
		return localStorage.getItem(key);
	} catch {
		return null; // storage blocked: the pairing lasts as long as the page
	}
}

function store(key: string, value: string | null): void {
	try {
		if (value === null) localStorage.removeItem(key);
		else localStorage.setItem(key, value);
	} catch {
		// storage blocked or full: the choice lasts as long as the page
	}
}

function readPairing(text: string | null): Pairing | null {
	try {
		const value: unknown = JSON.parse(text ?? 'null');
		if (typeof value !== 'object' || value === null || !('url' in value && 'token' in value)) return null;
		const { url, token } = value;
		const since = 'since' in value && typeof value.since === 'number' ? value.since : 0;
		return typeof url === 'string' && typeof token === 'string' && isLoopback(url) ? { url, token, since } : null;
	} catch {
		return null;
	}
}

/** The token goes to this computer and nowhere else. */
function isLoopback(url: string): boolean {
	return /^ws:\/\/(127\.0\.0\.1|localhost):\d{1,5}\/ws$/.test(url);
}

/** The helper's own page speaks to the very name it came from; every other page to the number. */
export function helperUrl(port: number): string {
	return `ws://${servedByHelper() === port ? location.hostname : '127.0.0.1'}:${port}/ws`;
}

export function portOf(url: string): number {
	return Number(/:(\d+)\//.exec(url)?.[1] ?? DEFAULT_PORT);
}

/** The page comes from a helper itself: then that is the one, and no browser asks anything. */
export function servedByHelper(at: Pick<Location, 'protocol' | 'hostname' | 'port'> = location): number | null {
	if (at.protocol !== 'http:' || (at.hostname !== '127.0.0.1' && at.hostname !== 'localhost')) return null;
	return Number(at.port || 80);
}

class HelperPairing {
	#pairing = $state.raw<Pairing | null>(typeof localStorage === 'undefined' ? null : readPairing(stored(KEY)));
	#wish = $state<Wish>(WISHES.find((wish) => wish === stored(WISH_KEY)) ?? 'automatic');

	get pairing(): Pairing | null {
		return this.#pairing;
	}
	set pairing(value: Pairing | null) {
		this.#pairing = value;
		store(KEY, value && JSON.stringify(value));
	}

	/** Where new runs are to go; without a helper always here. */
	get wish(): Wish {
		return this.#pairing === null ? 'here' : this.#wish;
	}
	set wish(value: Wish) {
		this.#wish = value;
		store(WISH_KEY, value);
	}
}

export const pairing = new HelperPairing();
