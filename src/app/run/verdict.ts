/** How each verdict of the probe looks; its words are in the texts. */
import type { Verdict } from './view';

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
