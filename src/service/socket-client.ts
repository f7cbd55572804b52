/**
 * The app's way to a trainer in a helper: the same client as of a worker, over a WebSocket that may break. It comes back by itself, says how it stands, and takes up every
 * run and every request where they were: events arrive once each and in order, requests are done once.
 */
import { errorProblem } from '../jobs/problem';
import type { Problem } from '../jobs/events';
import { asProblem, fromOutcome, ServiceError, type Outcome } from './errors';
import { CLOSE, readHelperWords, type ClientMessage, type ClientWords, type HelperInfo } from './handshake';
import { Link } from './link';
import { blobsOf, malformed, MAX_HEAD, pack, packWithBlobs, unpack } from './packing';
import { begunBy, PROTOCOL_VERSION, type EventMessage, type ReplyOf, type Request, type RunId, type TrainerClient } from './protocol';

export type HelperState =
	| { state: 'connecting' }
	/** `restarted`: another start of the helper than before; models have to be opened again. */
	| { state: 'open'; helper: HelperInfo; restarted: boolean }
	/** Tries again in `retryMs` milliseconds. */
	| { state: 'lost'; retryMs: number }
	/** It does not want this client; trying again would change nothing. */
	| { state: 'refused'; problem: Problem };

/** What is used of a WebSocket; the browser's and Node's both fit. */
export interface SocketLike {
	binaryType: string;
	readonly readyState: number;
	onopen: ((event: never) => void) | null;
	onmessage: ((event: { data: unknown }) => void) | null;
	onclose: ((event: { code: number; reason: string }) => void) | null;
	onerror: ((event: never) => void) | null;
	send(data: string | Uint8Array<ArrayBuffer>): void;
	close(code?: number, reason?: string): void;
}

export interface HelperOptions {
	/** `ws://127.0.0.1:5757/ws` */
	url: string;
	/** From `pairHelper`; empty for a client that is known otherwise. */
	token: string;
	onState?: (state: HelperState) => void;
	/** Opens the socket; by default the browser's. */
	open?: (url: string) => SocketLike;
	/** First pause before it tries again, in milliseconds; doubles up to 15 s. */
	retryMs?: number;
}

const MAX_RETRY_MS = 15_000;
const HANDSHAKE_MS = 15_000;
const STALL_MS = 60_000;
const MAX_BROKEN = 3;
const MAX_REPLY = 2 ** 30 + 2 ** 20;
/** A model of this size is not sent: the helper should read it where it lies. */
export const MAX_UPLOAD = 2 ** 29;

function browserSocket(url: string): SocketLike {
	return new WebSocket(url) as unknown as SocketLike;
}

function unreachable(url: string): Problem {
	const message =
		'The helper does not answer. Start it with “utsushi serve” on this computer. If it is running, the browser may have refused the connection, or the helper does not know the address of this page.';
	return errorProblem('helper.unreachable', 'helper', message, { url });
}

const strange = (): Problem => errorProblem('helper.strange', 'helper', 'What answers at this address is not a helper of Utsushi. Check the port.');

interface Pending {
	request: Request;
	resolve: (outcome: Outcome<ReplyOf[keyof ReplyOf]>) => void;
	reject: (error: unknown) => void;
}

function refuseTooLarge(bytes: number): void {
	if (bytes <= MAX_UPLOAD) return;
	const megabytes = Math.round(bytes / 2 ** 20);
	const message = `${megabytes} MB are too much to be sent to the helper. Put the file into one of the helper’s folders and choose it there by name.`;
	throw new ServiceError(errorProblem('helper.uploadTooLarge', 'helper', message, { megabytes, limit: MAX_UPLOAD / 2 ** 20 }));
}

class SocketClient implements TrainerClient {
	readonly #options: HelperOptions;
	readonly #session = crypto.randomUUID();
	readonly #listeners = new Set<(message: EventMessage) => void>();
	readonly #pending = new Map<number, Pending>();
	/** The last event of each run that has not ended. */
	readonly #runs = new Map<RunId, number>();
	/** Runs that are being followed anew: what still comes from before is not wanted. */
	readonly #following = new Map<RunId, number>();
	#nextId = 1;
	#socket: SocketLike | undefined;
	#link: Link | undefined;
	#instance: string | undefined;
	#retry: ReturnType<typeof setTimeout> | undefined;
	#pause: number;
	/** Times in a row that the helper found a message it could not read. */
	#broken = 0;
	#over: Problem | undefined;
	#first: { resolve: () => void; reject: (error: unknown) => void } | undefined;

	constructor(options: HelperOptions) {
		this.#options = options;
		this.#pause = options.retryMs ?? 250;
	}

	/** The first connection; a helper that cannot be reached is an error, later it is a state. */
	begin(): Promise<void> {
		return new Promise((resolve, reject) => {
			this.#first = { resolve, reject };
			this.#connect();
		});
	}

	#tell(state: HelperState): void {
		this.#options.onState?.(state);
	}

	#connect(): void {
		this.#tell({ state: 'connecting' });
		let socket: SocketLike;
		try {
			socket = (this.#options.open ?? browserSocket)(this.#options.url);
		} catch {
			this.#lost(undefined);
			return;
		}
		this.#socket = socket;
		socket.binaryType = 'arraybuffer';
		const patience = setTimeout(() => socket.close(), HANDSHAKE_MS);
		socket.onopen = () => {
			const words: ClientWords = {
				type: 'hello',
				version: PROTOCOL_VERSION,
				token: this.#options.token,
				session: this.#session,
				pending: [...this.#pending.keys()],
				runs: Object.fromEntries(this.#runs)
			};
			socket.send(JSON.stringify(words));
		};
		socket.onmessage = ({ data }) => {
			if (this.#socket !== socket) return;
			if (this.#link) {
				if (data instanceof ArrayBuffer) this.#link.receive(new Uint8Array(data));
				return;
			}
			clearTimeout(patience);
			this.#welcomed(socket, typeof data === 'string' ? readHelperWords(data) : undefined);
		};
		socket.onerror = () => undefined; // `onclose` follows
		socket.onclose = ({ code, reason }) => {
			clearTimeout(patience);
			if (this.#socket !== socket) return;
			if (code === CLOSE.broken && ++this.#broken >= MAX_BROKEN) this.#giveUp(reason);
			this.#lost(socket);
		};
	}

	/** Something that waits here is what the helper cannot read: sending it again and again would keep everything else from being sent. */
	#giveUp(reason: string): void {
		this.#broken = 0;
		const error = malformed(reason || 'the helper refused it');
		for (const { reject } of this.#pending.values()) reject(new ServiceError(error.problem));
		this.#pending.clear();
	}

	#welcomed(socket: SocketLike, words: ReturnType<typeof readHelperWords>): void {
		if (words?.type !== 'welcome') {
			this.#refused(words?.type === 'refused' ? words.problem : strange());
			return;
		}
		const link = new Link({
			send: (frame) => {
				if (socket.readyState === 1) socket.send(frame);
			},
			onMessage: (message) => this.#heard(message),
			onBroken: () => {
				socket.close(CLOSE.broken);
				if (this.#socket === socket) this.#lost(socket);
			},
			maxMessage: MAX_REPLY,
			stallMs: STALL_MS
		});
		this.#link = link;
		this.#pause = this.#options.retryMs ?? 250;
		const restarted = this.#instance !== undefined && this.#instance !== words.helper.instance;
		this.#instance = words.helper.instance;
		for (const [id, { request }] of this.#pending) if (!words.known.includes(id)) void this.#send(link, id, request);
		this.#tell({ state: 'open', helper: words.helper, restarted });
		this.#first?.resolve();
		this.#first = undefined;
	}

	#lost(socket: SocketLike | undefined): void {
		this.#socket = undefined;
		this.#link?.close();
		this.#link = undefined;
		if (socket) socket.onmessage = null;
		if (this.#over) return;
		if (this.#first) {
			this.#end(unreachable(this.#options.url));
			return;
		}
		const retryMs = Math.round(this.#pause * (0.75 + Math.random() / 2));
		this.#pause = Math.min(MAX_RETRY_MS, this.#pause * 2);
		this.#tell({ state: 'lost', retryMs });
		this.#retry = setTimeout(() => this.#connect(), retryMs);
	}

	#refused(problem: Problem): void {
		this.#end(problem);
		this.#tell({ state: 'refused', problem });
	}

	#end(problem: Problem): void {
		this.#over ??= problem;
		clearTimeout(this.#retry);
		this.#link?.close();
		this.#link = undefined;
		const socket = this.#socket;
		this.#socket = undefined;
		socket?.close(1000);
		const error = new ServiceError(problem);
		this.#first?.reject(error);
		this.#first = undefined;
		for (const { reject } of this.#pending.values()) reject(error);
		this.#pending.clear();
	}

	#heard(bytes: Uint8Array): void {
		const message = unpack(bytes) as { type: 'event'; message: EventMessage } | { type: 'reply'; id: number; outcome: Outcome<ReplyOf[keyof ReplyOf]> };
		if (message.type === 'event') {
			this.#event(message.message);
			return;
		}
		const pending = this.#pending.get(message.id);
		void this.#link?.send(pack({ type: 'got', ids: [message.id] } satisfies ClientMessage));
		if (!pending) return;
		this.#broken = 0;
		this.#pending.delete(message.id);
		this.#answered(pending.request, message.outcome.ok);
		pending.resolve(message.outcome);
	}

	/** An open model's progress, and what was refused, has no `ended`. */
	#answered(request: Request, ok: boolean): void {
		if (request.type === 'follow') {
			const after = this.#following.get(request.run);
			this.#following.delete(request.run);
			if (ok && after !== undefined && request.after !== null) this.#runs.set(request.run, after);
		} else if (request.type === 'openModel' || request.type === 'merge' || !ok) {
			const run = begunBy(request);
			if (run !== undefined) this.#runs.delete(run);
		}
	}

	#event(message: EventMessage): void {
		const { run, seq, event } = message;
		if (this.#following.has(run)) return;
		const last = this.#runs.get(run);
		if (last !== undefined && seq <= last) return;
		if (last !== undefined && last >= 0 && seq > last + 1) throw malformed('an event is missing'); // a new connection begins where this one was whole
		if (event.type === 'ended') this.#runs.delete(run);
		else this.#runs.set(run, seq);
		for (const listener of this.#listeners) listener(message);
	}

	async request<R extends Request>(request: R): Promise<ReplyOf[R['type']]> {
		if (this.#over) throw new ServiceError(this.#over);
		refuseTooLarge(blobsOf(request).reduce((sum, { size }) => sum + size, 0)); // before any is read
		const id = this.#nextId++;
		if (request.type === 'follow') {
			this.#runs.delete(request.run);
			if (request.after !== null) this.#following.set(request.run, request.after);
		} else {
			const run = begunBy(request);
			if (run !== undefined && !this.#runs.has(run)) this.#runs.set(run, -1);
		}
		const outcome = new Promise<Outcome<ReplyOf[keyof ReplyOf]>>((resolve, reject) => this.#pending.set(id, { request, resolve, reject }));
		if (this.#link) void this.#send(this.#link, id, request);
		// Each type has its own reply; only the pair of types is lost on the wire.
		return fromOutcome((await outcome) as Outcome<ReplyOf[R['type']]>);
	}

	async #send(link: Link, id: number, request: Request): Promise<void> {
		try {
			const packed = await packWithBlobs({ type: 'request', id, request } satisfies ClientMessage);
			refuseTooLarge(packed.length - MAX_HEAD);
			await link.send(packed);
		} catch (error) {
			// A file that cannot be read any more is this request's own problem.
			const pending = this.#pending.get(id);
			this.#pending.delete(id);
			pending?.reject(new ServiceError(asProblem(error, request.type)));
		}
	}

	subscribe(listener: (message: EventMessage) => void): () => void {
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	/** Leaves; the helper and its runs go on. */
	close(): void {
		this.#listeners.clear();
		this.#end(errorProblem('helper.closed', 'helper', 'The connection to the helper was closed.'));
	}
}

/** @throws ServiceError when there is no helper, or it refuses; `helper.unreachable`, `pairing.token`, `protocol.version` … */
export async function connectHelper(options: HelperOptions): Promise<TrainerClient> {
	const client = new SocketClient(options);
	await client.begin();
	return client;
}

/** A token for this page's origin, for the code that the helper shows in its terminal. @throws ServiceError `pairing.code`, `pairing.wait`, `helper.unreachable` … */
export function pairHelper({ url, code, open = browserSocket }: { url: string; code: string; open?: (url: string) => SocketLike }): Promise<string> {
	return new Promise((resolve, reject) => {
		const fail = (problem: Problem): void => reject(new ServiceError(problem));
		let socket: SocketLike;
		try {
			socket = open(url);
		} catch {
			fail(unreachable(url));
			return;
		}
		const patience = setTimeout(() => socket.close(), HANDSHAKE_MS);
		socket.onopen = () => {
			const words: ClientWords = { type: 'pair', version: PROTOCOL_VERSION, code };
			socket.send(JSON.stringify(words));
		};
		socket.onmessage = ({ data }) => {
			const words = typeof data === 'string' ? readHelperWords(data) : undefined;
			if (words?.type === 'paired') resolve(words.token);
			else fail(words?.type === 'refused' ? words.problem : strange());
			socket.close(1000);
		};
		socket.onerror = () => undefined;
		socket.onclose = () => {
			clearTimeout(patience);
			fail(unreachable(url));
		};
	});
}
