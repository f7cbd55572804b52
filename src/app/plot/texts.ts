/** The room's own texts, loaded with it: `plotTexts(i18n.language)` follows the language switch where it is derived. */
import { plot as en } from '../i18n/en/plot';
import { plot as ja } from '../i18n/ja/plot';
import type { Language } from '../i18n/language';

export type PlotTexts = typeof en;

export function plotTexts(language: Language): PlotTexts {
	return language === 'ja' ? ja : en;
}
