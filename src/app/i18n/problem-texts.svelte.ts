/** The tables of problem texts, one for each language, fetched when they are first asked for: most visits meet no problem, and the tables weigh as much as a screen. */
import type { Language } from './language';
import type { ProblemTexts } from './problems';

const LOADERS: Readonly<Record<Language, () => Promise<ProblemTexts>>> = {
	ja: async () => (await import('./ja/problems')).problemsJa,
	en: async () => (await import('./en/problems')).problemsEn
};

class Tables {
	#loaded = $state.raw<Readonly<Partial<Record<Language, ProblemTexts>>>>({});
	readonly #asked = new Map<Language, Promise<void>>();

	/** Undefined until they have come; whoever shows a text is told then. */
	of(language: Language): ProblemTexts | undefined {
		void this.load(language);
		return this.#loaded[language];
	}

	/** Never rejects: without its table a problem keeps its English message, and the next one asks again. */
	load(language: Language): Promise<void> {
		let asked = this.#asked.get(language);
		if (!asked) {
			asked = LOADERS[language]().then(
				(texts) => {
					this.#loaded = { ...this.#loaded, [language]: texts };
				},
				() => {
					this.#asked.delete(language);
				}
			);
			this.#asked.set(language, asked);
		}
		return asked;
	}
}

export const problemTables = new Tables();
