/** A host that does what a test says: it answers at once, and its runs say what the test lets them say. Fast enough to be cut off a hundred times. */
import { errorProblem } from '../../src/jobs/problem';
import type { RunEvent } from '../../src/jobs/events';
import { ServiceError } from '../../src/service/errors';
import type { EventMessage, ReplyOf, Request, TrainerClient } from '../../src/service/protocol';

export class ScriptedTrainer implements TrainerClient {
	readonly asked: Request[] = [];
	readonly #listeners = new Set<(message: EventMessage) => void>();
	readonly #next = new Map<string, number>();
	/** What a request gets, if not the usual answer. */
	answer: ((request: Request) => unknown) | undefined;
	closed = false;

	async request<R extends Request>(request: R): Promise<ReplyOf[R['type']]> {
		this.asked.push(request);
		return (await (this.answer?.(request) ?? this.#usual(request))) as ReplyOf[R['type']];
	}

	#usual(request: Request): unknown {
		switch (request.type) {
			case 'train':
			case 'stop':
			case 'cancel':
			case 'dropSnapshot':
				return null;
			case 'hello':
				return { version: request.version, adapter: null, problem: null };
			case 'openModel':
				return { modelId: 'model-1', name: 'x' };
			default:
				throw new ServiceError(errorProblem('test.odd', request.type, 'Not in the script.'));
		}
	}

	emit(run: string, event: RunEvent): void {
		const seq = this.#next.get(run) ?? 0;
		this.#next.set(run, seq + 1);
		for (const listener of this.#listeners) listener({ run, seq, time: 1000 + seq, event });
	}

	step(run: string, step: number, steps: number): void {
		this.emit(run, {
			type: 'progress',
			pass: 'difference',
			step,
			steps,
			loss: 1 / step,
			lossAverage: 1 / step,
			learningRate: 1e-4,
			stepsPerSecond: 3,
			etaSeconds: steps - step
		});
	}

	subscribe(listener: (message: EventMessage) => void): () => void {
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	close(): void {
		this.closed = true;
	}
}
