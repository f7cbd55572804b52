/**
 * The protocol over anything that looks like a MessagePort: `serve` puts a host behind an endpoint, `connect` makes a client of the
 * other end. Results that carry pixels or files are transferred, not copied; requests are copied, because whoever asks goes on showing
 * its pictures (a checkpoint travels as a Blob, which is a reference).
 */
import * as Comlink from 'comlink';
import { fromOutcome, toOutcome, type Outcome } from './errors';
import type { EventMessage, ReplyOf, Request, TrainerClient } from './protocol';

/** What answers requests, wherever it lives. */
export interface TrainerHost {
	handle<R extends Request>(request: R): Promise<ReplyOf[R['type']]>;
	subscribe(listener: (message: EventMessage) => void): () => void;
	close(): Promise<void>;
}

type AnyReply = ReplyOf[keyof ReplyOf];

interface Remote {
	handle(request: Request): Promise<Outcome<AnyReply>>;
	subscribe(listener: (message: EventMessage) => void): void;
	close(): Promise<void>;
}

/** Buffers of a message that nobody on this side needs any more. */
export function transferables(message: EventMessage): ArrayBuffer[] {
	const event = message.event;
	switch (event.type) {
		case 'file':
			return [event.bytes];
		case 'preview':
		case 'stripCell':
		case 'plotCell':
			return event.picture.data.buffer instanceof ArrayBuffer ? [event.picture.data.buffer] : [];
		default:
			return [];
	}
}

function isPicture(value: AnyReply): value is ReplyOf['sample'] {
	return value !== null && 'data' in value;
}

export function serve(host: TrainerHost, endpoint: Comlink.Endpoint): void {
	const remote: Remote = {
		async handle(request) {
			const outcome = await toOutcome<AnyReply>(() => host.handle(request), request.type);
			if (outcome.ok && isPicture(outcome.value) && outcome.value.data.buffer instanceof ArrayBuffer)
				return Comlink.transfer(outcome, [outcome.value.data.buffer]);
			if (outcome.ok && outcome.value !== null && 'file' in outcome.value) return Comlink.transfer(outcome, [outcome.value.file]);
			return outcome;
		},
		subscribe(listener) {
			host.subscribe((message) => listener(Comlink.transfer(message, transferables(message))));
		},
		close: () => host.close()
	};
	Comlink.expose(remote, endpoint);
}

export interface ConnectOptions {
	/** Ends whatever carries the endpoint (a worker, a port). */
	onClose: () => void;
	/** Rejects when the other side died, so that no request waits for ever. */
	died?: Promise<never>;
}

export function connect(endpoint: Comlink.Endpoint, { onClose, died }: ConnectOptions): TrainerClient {
	const remote = Comlink.wrap<Remote>(endpoint);
	const listeners = new Set<(message: EventMessage) => void>();
	const subscribed = remote.subscribe(
		Comlink.proxy((message: EventMessage) => {
			for (const listener of listeners) listener(message);
		})
	);
	return {
		async request<R extends Request>(request: R): Promise<ReplyOf[R['type']]> {
			const reply = async (): Promise<Outcome<AnyReply>> => {
				await subscribed; // no event of this request may get lost
				return remote.handle(request);
			};
			// The host answers each request type with its own reply; only the pair of types is lost on the wire.
			return fromOutcome((await (died ? Promise.race([reply(), died]) : reply())) as Outcome<ReplyOf[R['type']]>);
		},
		subscribe(listener) {
			listeners.add(listener);
			return () => listeners.delete(listener);
		},
		close() {
			listeners.clear();
			void Promise.resolve(remote.close()).then(onClose, onClose);
		}
	};
}
