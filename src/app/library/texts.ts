/** The room's own texts, loaded with it (and with the merge's), not with the first screen. */
import { library as en } from '../i18n/en/library';
import { library as ja } from '../i18n/ja/library';
import type { Language } from '../i18n/language';

export type LibraryTexts = typeof en;

export function libraryTexts(language: Language): LibraryTexts {
	return language === 'ja' ? ja : en;
}
