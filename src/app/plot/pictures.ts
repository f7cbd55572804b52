/**
 * The drawn cells of this browser: pictures by key, as files with their text inside, kept in the plots' own store. Screens show addresses;
 * pixels are unpacked only where they are compared, a few at a time.
 */
import { decodePng, encodePng } from '../../formats/png';
import type { Picture } from '../../service/protocol';
import type { PlotStore } from '../../storage/plots';

/** Pictures held as pixels at once: enough for a row with its bases. */
const UNPACKED = 24;

let opened: Promise<PlotStore> | null = null;

/** A failure is not remembered: it may work the next time. */
export function plotStore(): Promise<PlotStore> {
	opened ??= import('../../storage/plots').then(({ openPlots }) => openPlots());
	opened.catch(() => (opened = null));
	return opened;
}

export interface Shown {
	blob: Blob;
	url: string;
}

export class Pictures {
	readonly #shown = new Map<string, Shown>();
	readonly #pixels = new Map<string, Picture>();

	has(key: string): boolean {
		return this.#shown.has(key);
	}

	get(key: string): Shown | undefined {
		return this.#shown.get(key);
	}

	keys(): string[] {
		return [...this.#shown.keys()];
	}

	#put(key: string, blob: Blob): void {
		const old = this.#shown.get(key);
		if (old) URL.revokeObjectURL(old.url);
		this.#shown.set(key, { blob, url: URL.createObjectURL(blob) });
	}

	/** Brings what the store has of these keys; true when anything came. */
	async load(keys: readonly string[]): Promise<boolean> {
		const wanted = keys.filter((key) => !this.has(key));
		if (wanted.length === 0) return false;
		const found = await (await plotStore()).read(wanted);
		for (const [key, blob] of found) this.#put(key, blob);
		return found.size > 0;
	}

	/** A freshly drawn cell; shown at once, kept when there is room. Rejects when it could not be kept. */
	async add(key: string, picture: Picture, parameters: string): Promise<void> {
		const blob = new Blob([new Uint8Array(encodePng(picture, [['parameters', parameters]]))], { type: 'image/png' });
		this.#put(key, blob);
		this.#remember(key, picture);
		await (await plotStore()).write(key, blob);
	}

	#remember(key: string, picture: Picture): void {
		this.#pixels.delete(key);
		this.#pixels.set(key, picture);
		const [oldest] = this.#pixels.keys();
		if (this.#pixels.size > UNPACKED && oldest !== undefined) this.#pixels.delete(oldest);
	}

	/** null when it was not drawn. */
	async pixels(key: string): Promise<Picture | null> {
		const known = this.#pixels.get(key);
		if (known) {
			this.#remember(key, known);
			return known;
		}
		const shown = this.#shown.get(key);
		if (!shown) return null;
		const { width, height, data } = decodePng(new Uint8Array(await shown.blob.arrayBuffer()));
		const picture: Picture = { width, height, data };
		this.#remember(key, picture);
		return picture;
	}

	clear(): void {
		for (const { url } of this.#shown.values()) URL.revokeObjectURL(url);
		this.#shown.clear();
		this.#pixels.clear();
	}
}
