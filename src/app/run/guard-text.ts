/** What the guard did, as one sentence in the page's language. */
import { count, percent } from '../format';
import type { en } from '../i18n/en/index';
import type { Language } from '../i18n/language';
import type { GuardView } from './view';

type RunTexts = (typeof en)['run'];

export function guardText(guard: GuardView, t: RunTexts, passes: Record<GuardView['pass'], string>, language: Language): string {
	const value = guard.reason === 'notFinite' ? count(guard.value, language) : guard.value.toPrecision(2);
	const reason = t.guard.reasons[guard.reason](value);
	const [pass, step, to] = [passes[guard.pass], count(guard.step, language), count(guard.to, language)];
	return guard.action === 'rollback' ? t.guard.rollback(pass, step, reason, to, percent(guard.factor)) : t.guard.stop(pass, step, reason, to);
}
