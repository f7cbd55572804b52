/** Texts of the modes, loaded with the parts of the form that need them. */
import { modes as en } from '../i18n/en/modes';
import { modes as ja } from '../i18n/ja/modes';
import type { Language } from '../i18n/language';

export type ModeTexts = typeof en;

const texts: Readonly<Record<Language, ModeTexts>> = { en, ja };

export function modeTexts(language: Language): ModeTexts {
	return texts[language];
}
