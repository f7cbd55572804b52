/** Bad input of the command line: all problems at once; exit code 2. */
import type { Problem } from '../jobs/events';

export class InputError extends Error {
	override readonly name = 'InputError';
	readonly problems: readonly Problem[];

	constructor(problems: readonly Problem[]) {
		super(problems.map(({ message }) => message).join('\n'));
		this.problems = problems;
	}
}
