/**
 * One error type for everything a trainer refuses: it carries a `Problem`, the only thing that crosses a worker or socket boundary
 * (structured clone drops the class of an error, so transports send the problem and rebuild the error on the other side).
 */
import type { Problem } from '../jobs/events';

export class ServiceError extends Error {
	override readonly name = 'ServiceError';
	readonly problem: Problem;

	constructor(problem: Problem) {
		super(problem.message);
		this.problem = problem;
	}
}

/** A reply as it travels: the value, or why there is none. */
export type Outcome<T> = { ok: true; value: T } | { ok: false; problem: Problem };

export function errorProblem(code: string, where: string, message: string, values: Problem['values'] = {}): Problem {
	return { level: 'error', code, where, values, message };
}

/** The lower rooms throw errors of their own with a stable `code` and a remedy in the message; they need not know `Problem`. */
interface CodedError {
	code: string;
	message: string;
	where?: unknown;
	values?: unknown;
}

function isCoded(error: unknown): error is CodedError {
	return (
		typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string' && 'message' in error && typeof error.message === 'string'
	);
}

function plainValues(values: unknown): Problem['values'] {
	if (typeof values !== 'object' || values === null) return {};
	return Object.fromEntries(
		Object.entries(values).filter((entry): entry is [string, string | number] => typeof entry[1] === 'string' || typeof entry[1] === 'number')
	);
}

/** Whatever was thrown, as a problem. `where` is used when the error does not say it. */
export function asProblem(error: unknown, where: string): Problem {
	if (error instanceof ServiceError) return error.problem;
	if (isCoded(error))
		return errorProblem(error.code, typeof error.where === 'string' && error.where !== '' ? error.where : where, error.message, plainValues(error.values));
	const text = error instanceof Error ? error.message : String(error);
	return errorProblem('internal', where, `Something went wrong inside Utsushi (${where}): ${text}`, { detail: text });
}

/** Runs `work` and packs its result or its failure for the wire. */
export async function toOutcome<T>(work: () => Promise<T>, where: string): Promise<Outcome<T>> {
	try {
		return { ok: true, value: await work() };
	} catch (error) {
		return { ok: false, problem: asProblem(error, where) };
	}
}

export function fromOutcome<T>(outcome: Outcome<T>): T {
	if (outcome.ok) return outcome.value;
	throw new ServiceError(outcome.problem);
}
