/**
 * One client of a helper, across as many connections as it takes: answers its requests once each, and brings the events of the runs it follows, in order, at its pace.
 *
 * Rules
 * - Events are pulled from the run's log when there is room on the way to the client; nothing piles up for a slow one.
 * - A request is done once, whatever happens to the connection meanwhile: its answer is kept until the client says that it came (`got`), within limits.
 * - The answer to a request with a run comes behind all events the run had by then, as from a worker.
 * - More requests at a time than MAX_OPEN wait on the wire (they are not acknowledged), so a client cannot pile up work either.
 */
import { errorProblem } from '../jobs/problem';
import { asProblem, ServiceError, toOutcome } from './errors';
import { MAX_RESUMED } from './handshake';
import { malformed, pack, packWithBlobs, unpack, type Packed } from './packing';
import { begunBy, type EventMessage, type Request, type RunId } from './protocol';
import { checkRequest } from './request-schema';
import type { RunHouse } from './run-house';

export const MAX_OPEN = 64;
/** Bytes of answers that are kept for a client after they were sent. */
const MAX_KEPT = 2 ** 26;
/** Largest answer. */
const MAX_REPLY = 2 ** 30;

interface Answer {
	/** null: was sent, and was too large to be kept. */
	packed: Packed | null;
	/** Not before this event of this run. */
	after: { run: RunId; seq: number } | null;
	sent: boolean;
}

/** What carries one connection's messages. */
export interface Outlet {
	send(packed: Packed): Promise<void>;
}

/** Requests that are about the client itself and not about runs; undefined: it is none of them. */
export type AnswerSelf = (request: Request) => Promise<unknown> | undefined;

export class Session {
	/** The next event of each run this client follows. */
	readonly #cursors = new Map<RunId, number>();
	readonly #answers = new Map<number, Answer>();
	readonly #working = new Set<number>();
	readonly #waiting: (() => void)[] = [];
	#outlet: Outlet | undefined;
	#wake: (() => void) | undefined;
	#unlisten: () => void;
	/** When the last connection ended; undefined while there is one. */
	left: number | undefined;

	constructor(
		private readonly house: RunHouse,
		private readonly answerSelf: AnswerSelf = () => undefined
	) {
		this.#unlisten = house.onNews((run) => {
			if (this.#cursors.has(run)) this.#signal();
		});
	}

	/** A new connection; the one before, if any, gets nothing more. Returns those of `pending` that are known; nothing is sent before `begin`. */
	attach(outlet: Outlet, pending: readonly number[], runs: Readonly<Record<RunId, number>>): number[] {
		this.#outlet = outlet;
		this.left = undefined;
		this.#cursors.clear();
		for (const [run, seq] of Object.entries(runs)) this.#cursors.set(run, seq + 1);
		// What the client no longer waits for has arrived.
		for (const id of this.#answers.keys()) if (!pending.includes(id)) this.#answers.delete(id);
		for (const answer of this.#answers.values()) answer.sent = false;
		this.#free();
		return pending.filter((id) => this.#working.has(id) || this.#answers.has(id));
	}

	begin(): void {
		if (this.#outlet) void this.#pump(this.#outlet);
	}

	/** The connection ended. */
	leave(now: number): void {
		this.#outlet = undefined;
		this.left = now;
		this.#signal();
		this.#free();
	}

	/** Nobody will come back. */
	close(): void {
		this.#unlisten();
		this.#outlet = undefined;
		this.#answers.clear();
		this.#signal();
		this.#free();
	}

	/** A whole message of the client. Resolves when the next one may come. @throws ProblemError when it is none */
	async receive(message: Uint8Array): Promise<void> {
		const value = unpack(message);
		if (typeof value !== 'object' || value === null || !('type' in value)) throw malformed('it is neither a request nor an acknowledgement');
		if (value.type === 'got' && 'ids' in value && Array.isArray(value.ids)) {
			for (const id of value.ids) this.#answers.delete(Number(id));
			this.#free();
			return;
		}
		if (value.type !== 'request' || !('id' in value) || !('request' in value) || !Number.isSafeInteger(value.id))
			throw malformed('it is neither a request nor an acknowledgement');
		const id = Number(value.id);
		const outlet = this.#outlet;
		while (this.#working.size + this.#answers.size >= MAX_OPEN) {
			await new Promise<void>((resolve) => this.#waiting.push(resolve));
			if (this.#outlet !== outlet || !outlet) return; // the connection it came on is gone
		}
		if (this.#working.has(id) || this.#answers.has(id)) return; // sent a second time on another connection
		this.#working.add(id);
		void this.#work(id, value.request);
	}

	async #work(id: number, given: unknown): Promise<void> {
		let request: Request | undefined;
		const outcome = await toOutcome(async () => {
			request = checkRequest(given);
			const own = this.answerSelf(request);
			if (own) return own;
			if (request.type === 'follow') return this.#follow(request.run, request.after);
			this.#followFrom(request);
			return this.house.request(request);
		}, 'request');
		const run = request && begunBy(request);
		const packed = await this.#pack(id, outcome);
		const log = run === undefined ? undefined : this.house.log(run);
		this.#working.delete(id);
		this.#answers.set(id, { packed, after: run !== undefined && log ? { run, seq: log.next - 1 } : null, sent: false });
		this.#signal();
	}

	async #pack(id: number, outcome: unknown): Promise<Packed> {
		try {
			const packed = await packWithBlobs({ type: 'reply', id, outcome });
			if (packed.length <= MAX_REPLY) return packed;
			const message = `The answer has ${Math.round(packed.length / 2 ** 20)} MB, too much to be sent.`;
			throw new ServiceError(errorProblem('helper.resultTooLarge', 'helper', message, { megabytes: Math.round(packed.length / 2 ** 20) }));
		} catch (error) {
			return pack({ type: 'reply', id, outcome: { ok: false, problem: asProblem(error, 'helper') } });
		}
	}

	/** A run that is begun here is followed from its first event here. */
	#followFrom(request: Request): void {
		const run = begunBy(request);
		if (run === undefined || this.#cursors.has(run)) return;
		this.#tidy();
		this.#cursors.set(run, this.house.log(run)?.next ?? 0);
	}

	async #follow(run: RunId, after: number | null): Promise<unknown> {
		this.#cursors.delete(run);
		const detail = await this.house.request({ type: 'follow', run, after });
		if (after !== null) {
			this.#tidy();
			this.#cursors.set(run, after + 1);
		}
		return detail;
	}

	/** Runs that ended and were brought to their end need no place in the list. */
	#tidy(): void {
		if (this.#cursors.size < MAX_RESUMED) return;
		for (const [run, next] of this.#cursors) {
			const log = this.house.log(run);
			if (!log || (log.head.state !== 'running' && next >= log.next)) this.#cursors.delete(run);
		}
		if (this.#cursors.size < MAX_RESUMED) return;
		const message = `No more than ${MAX_RESUMED} runs can be followed at a time.`;
		throw new ServiceError(errorProblem('helper.tooManyRuns', 'helper', message, { limit: MAX_RESUMED }));
	}

	#signal(): void {
		const wake = this.#wake;
		this.#wake = undefined;
		wake?.();
	}

	#free(): void {
		for (const resolve of this.#waiting.splice(0)) resolve();
	}

	#nextAnswer(): [number, Answer] | undefined {
		for (const [id, answer] of this.#answers) {
			if (answer.sent) continue;
			const next = answer.after ? this.#cursors.get(answer.after.run) : undefined;
			const gone = answer.after && !this.house.log(answer.after.run);
			if (next === undefined || gone || !answer.after || next > answer.after.seq) return [id, answer];
		}
		return undefined;
	}

	#nextRun(): [RunId, number] | undefined {
		for (const [run, next] of this.#cursors) {
			const log = this.house.log(run);
			if (log && next < log.next) return [run, next];
		}
		return undefined;
	}

	async #pump(outlet: Outlet): Promise<void> {
		while (this.#outlet === outlet) {
			const answer = this.#nextAnswer();
			if (answer) {
				await this.#sendAnswer(outlet, ...answer);
				continue;
			}
			const next = this.#nextRun();
			if (next) {
				await this.#sendEvent(outlet, ...next);
				continue;
			}
			await new Promise<void>((resolve) => (this.#wake = resolve));
		}
	}

	async #sendAnswer(outlet: Outlet, id: number, answer: Answer): Promise<void> {
		const problem = errorProblem('helper.replyLost', 'helper', 'The connection was cut while a large answer was on its way. Ask again.');
		const packed = answer.packed ?? pack({ type: 'reply', id, outcome: { ok: false, problem } });
		answer.sent = true;
		await outlet.send(packed);
		if (packed.length > MAX_KEPT) answer.packed = null;
	}

	async #sendEvent(outlet: Outlet, run: RunId, seq: number): Promise<void> {
		const record = await this.house
			.log(run)
			?.read(seq)
			.catch(() => undefined);
		if (this.#cursors.get(run) !== seq || this.#outlet !== outlet) return; // followed anew meanwhile
		this.#cursors.set(run, seq + 1);
		const packed = record ? { pieces: [record], length: record.length } : pack({ type: 'event', message: lostEvent(run, seq) });
		await outlet.send(packed);
		// Round robin: a run with much to say does not keep the others from speaking.
		const next = this.#cursors.get(run);
		if (next === seq + 1 && this.#cursors.delete(run)) this.#cursors.set(run, next);
	}
}

/** An event that cannot be read from disk any more still has its number. */
function lostEvent(run: RunId, seq: number): EventMessage {
	const message = 'An event of this run cannot be read from the helper’s disk any more.';
	return {
		run,
		seq,
		time: Date.now(),
		event: { type: 'warning', problem: { level: 'warning', code: 'helper.eventLost', where: run, values: { seq }, message } }
	};
}

/** Sessions by who they belong to; one whose client went away waits a while for it to come back. */
export class Sessions {
	readonly #sessions = new Map<string, Session>();

	constructor(
		private readonly house: RunHouse,
		private readonly limits = { detached: 16, minutes: 10 }
	) {}

	/** `owner`: the pairing; nobody else can take up its sessions. */
	open(owner: string, name: string, now: number, answerSelf?: AnswerSelf): Session {
		this.#tidy(now);
		const key = `${owner} ${name}`;
		const session = this.#sessions.get(key) ?? new Session(this.house, answerSelf);
		this.#sessions.set(key, session);
		return session;
	}

	#tidy(now: number): void {
		const detached = [...this.#sessions].filter(([, { left }]) => left !== undefined).sort(([, a], [, b]) => (b.left ?? 0) - (a.left ?? 0));
		for (const [index, [key, session]] of detached.entries()) {
			if (index < this.limits.detached && now - (session.left ?? 0) < this.limits.minutes * 60_000) continue;
			session.close();
			this.#sessions.delete(key);
		}
	}

	close(): void {
		for (const session of this.#sessions.values()) session.close();
		this.#sessions.clear();
	}
}
