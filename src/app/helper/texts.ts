/** The helper's texts come with its parts, not with the first load. */
import { helper as en } from '../i18n/en/helper';
import { helper as ja } from '../i18n/ja/helper';
import type { Language } from '../i18n/language';

export type HelperTexts = typeof en;

export function helperTexts(language: Language): HelperTexts {
	return language === 'ja' ? ja : en;
}
