/**
 * The text of a problem in the page's language. Problems come with an English message of their own (made for the command line, too);
 * the tables hold the Japanese ones, and shorter English ones for the form, where the field already says which value is meant. Until a table has come
 * (`problem-texts.svelte.ts`), and for codes that it does not know, the problem's own message stands.
 */
import type { Problem } from '../../service/protocol';
import type { Language } from './language';
import { problemTables } from './problem-texts.svelte';

export type ProblemTexts = Readonly<Record<string, (values: Problem['values']) => string>>;

export function problemText(problem: Problem, language: Language): string {
	const texts = problemTables.of(language);
	// Codes come from outside: own keys only.
	const text = texts && Object.hasOwn(texts, problem.code) ? texts[problem.code] : undefined;
	return text ? text(problem.values) : problem.message;
}
