/** The room's own texts, loaded with it. */
import { merge as en } from '../i18n/en/merge';
import { merge as ja } from '../i18n/ja/merge';
import type { Language } from '../i18n/language';

type MergeTexts = typeof en;

export function mergeTexts(language: Language): MergeTexts {
	return language === 'ja' ? ja : en;
}
