/** The text that goes with a LoRA into a release: what it is for, how to use it, how it was made; in both languages, because its readers are everywhere. Pure. */
import type { LibraryEntry } from '../../storage/library';
import { en } from '../i18n/en/index';
import { ja } from '../i18n/ja/index';
import type { Language } from '../i18n/language';
import { passesInOneLine } from '../train/summary';
import { parentsOf, stem } from './lineage';
import { libraryTexts } from './texts';

/** Strength in a prompt when nobody has said a better one. */
const USUAL_STRENGTH = 1;

function part(language: Language, entry: LibraryEntry): string[] {
	const t = libraryTexts(language);
	const { recipe: words, train } = language === 'ja' ? ja : en;
	const name = stem(entry.name);
	const strength = entry.strength ?? USUAL_STRENGTH;
	const parents = parentsOf(entry);
	const { recipe } = entry;
	const d = t.release;
	const family = entry.family === 'unknown' ? t.unknownFamily : train.model.families[entry.family];
	return [
		`## ${d.language}`,
		'',
		...(entry.notes.trim() === '' ? [] : [entry.notes.trim(), '']),
		`- ${d.base(entry.baseModel || family)}`,
		`- ${entry.trigger === '' ? d.noTrigger : d.trigger(entry.trigger)}`,
		`- ${entry.strength === null ? d.strengthUnsaid : d.strength(String(strength))}`,
		`- ${d.use(`<lora:${name}:${strength}>`)}`,
		...(recipe ? [`- ${d.trained(recipe.model.name, passesInOneLine(recipe.passes, words, recipe.mode))}`] : []),
		...(parents.length > 0 ? [`- ${d.merged(parents.map((parent) => `${stem(parent.name)} × ${parent.ratio}`).join(', '))}`] : []),
		''
	];
}

/** Markdown: English, then Japanese. */
export function description(entry: LibraryEntry): string {
	return [`# ${stem(entry.name)}`, '', ...part('en', entry), ...part('ja', entry)].join('\n');
}
