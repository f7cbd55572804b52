/** How each verdict of the probe looks, and which words say it: while a pass trains what is going on, afterwards how it ended. */
import type { PassName } from '../../service/protocol';
import type { en } from '../i18n/en/index';
import type { RunView, Verdict } from './view';

export const VERDICT_ICON = {
	notYet: 'falling',
	learning: 'falling',
	converged: 'flat',
	overfitting: 'warning',
	collapsed: 'error',
	notConverging: 'warning'
} as const satisfies Record<Verdict, string>;

export const VERDICT_TONE = {
	notYet: 'live',
	learning: 'live',
	converged: 'good',
	overfitting: 'warn',
	collapsed: 'bad',
	notConverging: 'warn'
} as const satisfies Record<Verdict, 'live' | 'good' | 'warn' | 'bad'>;

type RunTexts = (typeof en)['run'];

interface PassVerdict {
	verdict: Verdict;
	/** The pass makes no more steps. */
	over: boolean;
	tone: (typeof VERDICT_TONE)[Verdict];
	icon: (typeof VERDICT_ICON)[Verdict];
	word: string;
	sentence: string;
}

/** What the probe says of a pass, in the words of now or of afterwards; null before it has compared anything. */
export function verdictOf(view: RunView, name: PassName, t: RunTexts): PassVerdict | null {
	const { verdict, probes } = view.passes[name];
	if (probes.length < 2) return null;
	const over = view.outcome !== null || view.pass !== name;
	// What never came down is no news while it may still come, and bad news at the end.
	const failed = over && verdict === 'notYet';
	const tone = failed ? 'warn' : VERDICT_TONE[verdict];
	const icon = failed ? 'warning' : VERDICT_ICON[verdict];
	const word = over ? t.endedWords[verdict] : t.verdictWords[verdict];
	const sentence = over ? t.endedVerdicts[verdict] : t.verdicts[verdict];
	return { verdict, over, tone, icon, word, sentence };
}
