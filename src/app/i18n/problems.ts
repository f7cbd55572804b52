/**
 * The text of a problem in the page's language. Problems come with an English message of their own (made for the command line, too);
 * here stand the Japanese ones, and shorter English ones for the form, where the field already says which value is meant.
 */
import type { Problem } from '../../service/protocol';
import { problemsEn } from './en/problems';
import { problemsJa } from './ja/problems';
import type { Language } from './language';

export type ProblemTexts = Readonly<Record<string, (values: Problem['values']) => string>>;

export function problemText(problem: Problem, language: Language): string {
	const texts = language === 'ja' ? problemsJa : problemsEn;
	// Codes come from outside: own keys only.
	const text = Object.hasOwn(texts, problem.code) ? texts[problem.code] : undefined;
	return text ? text(problem.values) : problem.message;
}
