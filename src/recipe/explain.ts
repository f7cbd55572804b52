/** Issues that the schema library found, as problems in words: the field, the value given, what to do. */
import { problem, shown } from './problem';
import type { RecipeProblem, RecipeProblemCode } from './problem';

export interface Issue {
	readonly type: string;
	readonly input: unknown;
	readonly requirement?: unknown;
	readonly expected: string | null;
	readonly path?: readonly { readonly key?: unknown }[] | undefined;
}

/** One validation issue in words. */
export function explain(issue: Issue): RecipeProblem {
	const where = (issue.path ?? []).map((item) => String(item.key)).join('.');
	const given = shown(issue.input);
	const error = (code: RecipeProblemCode, message: string, values: Record<string, string | number> = {}) =>
		problem('error', code, where, { field: where, given, ...values }, message);
	const limit = typeof issue.requirement === 'number' ? issue.requirement : 0;
	switch (issue.type) {
		case 'number':
		case 'finite': {
			const hint = typeof issue.input === 'string' && issue.input.trim() !== '' && Number.isFinite(Number(issue.input)) ? ' without quotes' : '';
			return error('recipe.notNumber', `${where} is ${given}, which is not a number. Write a number such as 0.0001${hint}.`);
		}
		case 'integer':
			return error('recipe.notWhole', `${where} is ${given}; it must be a whole number.`);
		case 'string':
			return error('recipe.notText', `${where} is ${given}; it must be text in quotes.`);
		case 'boolean':
			return error('recipe.notBoolean', `${where} is ${given}; write true or false.`);
		case 'array':
			return error('recipe.notList', `${where} is ${given}; it must be a list in square brackets.`);
		case 'object':
			return error('recipe.notObject', `${where || 'The recipe'} is ${given}; it must be an object in braces.`);
		case 'min_value':
			return error('recipe.tooSmall', `${where} is ${given}; the smallest allowed value is ${limit}.`, { limit });
		case 'max_value':
			return error('recipe.tooLarge', `${where} is ${given}; the largest allowed value is ${limit}.`, { limit });
		case 'min_length':
			return error('recipe.tooShort', `${where} is empty; give at least ${limit === 1 ? 'one' : limit}.`, { limit });
		case 'max_length':
			return error('recipe.tooLong', `${where} is too long; at most ${limit} ${typeof issue.input === 'string' ? 'characters' : 'entries'} fit.`, { limit });
		case 'picklist':
		case 'literal':
		case 'variant': {
			const options = (issue.expected ?? '').replace(/[()]/g, '').replaceAll(' | ', ', ');
			return error('recipe.notOneOf', `${where} is ${given}; choose one of ${options}.`, { options });
		}
		case 'check':
			return error('recipe.badName', `${where} is ${given}; it becomes a file name, so leave out / \\ : * ? " < > | and spaces at the ends.`);
		case 'regex':
			if (where.endsWith('.rules'))
				return error('recipe.badRules', `${where} is ${given}; write factor:step pairs and a last factor, such as 1:500, 0.3:750, 0.1.`);
			return where.endsWith('sha256')
				? error('recipe.badHash', `${where} is ${given}; a SHA-256 has 64 hexadecimal digits.`)
				: error('recipe.invalid', `${where} is ${given}, which is not valid here.`);
		default:
			return error('recipe.invalid', `${where || 'The recipe'} is ${given}, which is not valid here.`);
	}
}
