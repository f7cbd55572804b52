/**
 * What a person chose for this browser: language, theme, storage precision on the GPU. Kept in localStorage (small, synchronous, so the
 * first paint is right); a browser that refuses storage just forgets.
 */
import { chooseLanguage, type Language } from '../i18n/language';
import { CARDS, type Card } from './gpu-memory';

export const THEMES = ['system', 'light', 'dark'] as const;
export type Theme = (typeof THEMES)[number];
export type GpuStorage = 'f16' | 'f32';

const PREFIX = 'utsushi.';

function stored(key: string): string | null {
	try {
		return localStorage.getItem(PREFIX + key);
	} catch {
		return null; // storage blocked: defaults
	}
}

function store(key: string, value: string): void {
	try {
		localStorage.setItem(PREFIX + key, value);
	} catch {
		// storage blocked or full: the choice lasts as long as the page
	}
}

class Preferences {
	#language = $state<Language>(chooseLanguage(stored('language'), navigator.languages));
	#theme = $state<Theme>(THEMES.find((theme) => theme === stored('theme')) ?? 'system');
	#gpuStorage = $state<GpuStorage>(stored('gpuStorage') === 'f32' ? 'f32' : 'f16');

	#gpuMemory = $state<Card>(CARDS.find((card) => card === stored('gpuMemory')) ?? 'auto');

	#keepAwake = $state(stored('keepAwake') !== 'no');

	/** Whether the screen stays on while training: a screen that goes dark lets laptops fall asleep, and the GPU with them. */
	get keepAwake(): boolean {
		return this.#keepAwake;
	}
	set keepAwake(value: boolean) {
		this.#keepAwake = value;
		store('keepAwake', value ? 'yes' : 'no');
	}

	/** Memory of the graphics card in gigabytes. */
	get gpuMemory(): Card {
		return this.#gpuMemory;
	}
	set gpuMemory(value: Card) {
		this.#gpuMemory = value;
		store('gpuMemory', value);
	}

	get language(): Language {
		return this.#language;
	}
	set language(value: Language) {
		this.#language = value;
		store('language', value);
	}

	get theme(): Theme {
		return this.#theme;
	}
	set theme(value: Theme) {
		this.#theme = value;
		store('theme', value);
	}

	get gpuStorage(): GpuStorage {
		return this.#gpuStorage;
	}
	set gpuStorage(value: GpuStorage) {
		this.#gpuStorage = value;
		store('gpuStorage', value);
	}
}

export const preferences = new Preferences();
