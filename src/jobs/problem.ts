/** Making problems: what is wrong, where, and what to do, as one object for people and for translation. */
import type { Problem } from './events';

export function errorProblem(code: string, where: string, message: string, values: Problem['values'] = {}): Problem {
	return { level: 'error', code, where, values, message };
}

export function warningProblem(code: string, where: string, message: string, values: Problem['values'] = {}): Problem {
	return { level: 'warning', code, where, values, message };
}

/** Thrown where a problem ends the work. */
export class ProblemError extends Error {
	override readonly name: string = 'ProblemError';
	readonly problem: Problem;

	constructor(problem: Problem, options?: ErrorOptions) {
		super(problem.message, options);
		this.problem = problem;
	}
}
