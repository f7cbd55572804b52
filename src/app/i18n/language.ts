/** The languages of the app and how one is chosen: what was stored, else the first of the browser's languages that we speak, else English. */
export const LANGUAGES = ['ja', 'en'] as const;
export type Language = (typeof LANGUAGES)[number];

export function isLanguage(value: unknown): value is Language {
	return LANGUAGES.some((language) => language === value);
}

export function chooseLanguage(stored: string | null, preferred: readonly string[]): Language {
	if (isLanguage(stored)) return stored;
	for (const tag of preferred) {
		const base = tag.toLowerCase().split('-')[0];
		if (isLanguage(base)) return base;
	}
	return 'en';
}
