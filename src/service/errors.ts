/**
 * One error type for everything a trainer refuses: it carries a `Problem`, the only thing that crosses a worker or socket boundary
 * (structured clone drops the class of an error, so transports send the problem and rebuild the error on the other side).
 */
import { FormatError } from '../formats/error';
import { GpuError } from '../gpu/gpu';
import type { Problem } from '../jobs/events';
import { errorProblem, ProblemError } from '../jobs/problem';
import { LoraError } from '../lora/error';
import { StorageError } from '../storage/errors';
import { TrainingError } from '../training/events';

const GPU_REMEDY: Record<GpuError['code'], string> = {
	unavailable: 'Install or update the graphics driver; in a browser, use a recent Chrome, Edge, Firefox or Safari with graphics acceleration switched on.',
	lost: 'Files made so far are kept. Close other programs that use the GPU and start again.',
	memory: 'Choose a smaller batch, a lower rank or half storage, or close other programs that use the GPU.',
	shader: 'Please report this together with the name of your GPU.',
	validation: 'Please report this together with the name of your GPU.'
};

export class ServiceError extends ProblemError {
	override readonly name = 'ServiceError';
}

/** A reply as it travels: the value, or why there is none. */
export type Outcome<T> = { ok: true; value: T } | { ok: false; problem: Problem };

/** Whatever was thrown, as a problem. The codes of the lower rooms get the name of what they are about: `file.truncated`, `gpu.lost`. */
export function asProblem(error: unknown, where: string): Problem {
	if (error instanceof ProblemError || error instanceof TrainingError) return error.problem;
	if (error instanceof FormatError) return errorProblem(`file.${error.code}`, where, error.message, { ...error.values, at: error.where });
	if (error instanceof GpuError) return errorProblem(`gpu.${error.code}`, 'gpu', `${error.message} ${GPU_REMEDY[error.code]}`);
	if (error instanceof StorageError) return errorProblem(error.code, error.where, error.message, error.values);
	if (error instanceof LoraError) return errorProblem(error.code, where, error.message, { ...error.values, at: error.where });
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
