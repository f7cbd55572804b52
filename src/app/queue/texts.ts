/** The queue's texts come with its page, not with the first load. */
import { queue as en } from '../i18n/en/queue';
import { queue as ja } from '../i18n/ja/queue';
import type { Language } from '../i18n/language';

export type QueueTexts = typeof en;

export function queueTexts(language: Language): QueueTexts {
	return language === 'ja' ? ja : en;
}
