/** The page's language and its texts: `i18n.t.train.start` in any component follows the language switch. */
import { preferences } from '../settings/preferences.svelte';
import { en } from './en/index';
import { ja } from './ja/index';
import type { Language } from './language';

export type Dictionary = typeof en;

const dictionaries: Record<Language, Dictionary> = { en, ja };

class I18n {
	get language(): Language {
		return preferences.language;
	}

	get t(): Dictionary {
		return dictionaries[preferences.language];
	}
}

export const i18n = new I18n();
