/** English texts for problems shown beside the field or picture they are about; all others bring a full message of their own. */
import { short } from '../../format';
import type { ProblemTexts } from '../problems';

export const problemsEn: ProblemTexts = {
	'recipe.notNumber': (v) => `${v['given'] ?? ''} is not a number. Write one such as 0.0001 or 5e-5.`,
	'recipe.notWhole': (v) => `${v['given'] ?? ''} must be a whole number.`,
	'recipe.tooSmall': (v) => `${v['given'] ?? ''} is too small; the least is ${v['limit'] ?? ''}.`,
	'recipe.tooLarge': (v) => `${v['given'] ?? ''} is too large; the most is ${v['limit'] ?? ''}.`,
	'recipe.tooShort': () => 'This must not be empty.',
	'recipe.badName': () => 'It becomes a file name: leave out / \\ : * ? " < > | and spaces at the ends.',
	'recipe.alphaAboveRank': (v) =>
		`Alpha ${v['alpha'] ?? ''} is above rank ${v['rank'] ?? ''}: the effect is multiplied by more than 1, which often breaks pictures.`,
	'recipe.alphaZero': (v) => `With 0 nothing can be learnt. Use ${v['rank'] ?? ''}.`,
	'recipe.timestepRange': (v) => `From ${v['min'] ?? ''} to ${v['max'] ?? ''}: the end must be larger than the start.`,
	'recipe.warmupTooLong': (v) => `The warm-up is not shorter than the ${v['iterations'] ?? ''} iterations: the full rate is never reached.`,
	'recipe.rateHighForBatch': (v) =>
		`A learning rate of ${short(Number(v['rate']))} is high for batch ${v['batch'] ?? ''}: up to about ${short(Number(v['usual']))} is usual, far above that training often collapses.`,
	'recipe.textEncoderBlock': () => 'BASE is the text encoder, which only mode LoRA trains. It is ignored.',
	'recipe.textEncoderAttention': () => 'With attention other than “Full” the text encoder (BASE) is not trained.'
};
