/** Both passes in one line: `rank 16 → 4 · AdamW rate 0.005 → 0.003 · 300 + 150 steps`. Equal halves are said once. */
import type { Mode, PassSettings, Recipe } from '../../recipe/recipe';
import { short } from '../format';
import type { Dictionary } from '../i18n/i18n.svelte';

export function passesInOneLine(passes: Recipe['passes'], t: Dictionary['recipe'], mode: Mode = 'difference'): string {
	const { difference } = passes;
	// Modes with one pass have two equal halves.
	const copier = mode === 'difference' ? passes.copier : difference;
	const rank = (pass: PassSettings) => (pass.convRank > 0 ? `${pass.rank}+${pass.convRank}` : String(pass.rank));
	const arrow = (a: string, b: string) => (a === b ? a : `${a} → ${b}`);
	const names = [copier, difference].map((pass) => t.optimizers[pass.optimizer.kind]);
	const rates = [copier, difference].map((pass) => short(pass.learningRate));
	const [first = '', second = ''] = names;
	const [from = '', to = ''] = rates;
	const both = first === second ? `${first} ${t.rateWord} ${arrow(from, to)}` : `${first} ${t.rateWord} ${from} → ${second} ${to}`;
	return t.summary(
		arrow(rank(copier), rank(difference)),
		both,
		mode === 'difference' ? `${copier.iterations} + ${difference.iterations}` : String(difference.iterations)
	);
}
