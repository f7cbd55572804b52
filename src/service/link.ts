/**
 * Whole messages over a socket, in frames, with back-pressure in both directions. Both ends of a helper's WebSocket use this one.
 *
 *   BEGIN  u8 1 │ 3 × 0 │ u32 length of the message │ its first bytes
 *   MORE   u8 2 │ its next bytes
 *   ACK    u8 3 │ 3 × 0 │ u32 bytes taken since the last ACK
 *
 * Rules
 * - A frame is one binary WebSocket message of at most MAX_FRAME bytes. Messages follow each other; none is interleaved.
 * - At most WINDOW bytes of frames are on the way unacknowledged; the receiver acknowledges what it has dealt with, not what has arrived. So neither side ever holds more
 *   of the other's than a window and one message, however slow somebody reads, and the browser's own queue of received messages stays short too.
 * - The length is checked before anything is allocated: against the limit of one message and a budget that connections share.
 * - Whatever breaks a rule ends the connection (`onBroken`); a peer that lets a full window or a half message lie for `stallMs` does too.
 */
import { malformed, type Packed } from './packing';
import { errorProblem, ProblemError } from '../jobs/problem';

export const MAX_FRAME = 2 ** 18;
export const WINDOW = 2 ** 22;
const ACK_AFTER = WINDOW / 4;
const HEADER = 8;
const BEGIN = 1;
const MORE = 2;
const ACK = 3;

/** Bytes of half messages that all connections together may hold. */
export class Budget {
	#left: number;
	constructor(readonly bytes: number) {
		this.#left = bytes;
	}
	get left(): number {
		return this.#left;
	}
	take(bytes: number): boolean {
		if (bytes > this.#left) return false;
		this.#left -= bytes;
		return true;
	}
	give(bytes: number): void {
		this.#left += bytes;
	}
}

export interface LinkOptions {
	/** Sends one frame. */
	send(frame: Uint8Array<ArrayBuffer>): void;
	/** A whole message; the next frames are acknowledged when the promise is settled. */
	onMessage(message: Uint8Array): Promise<void> | void;
	/** The peer broke a rule; the caller closes the socket. */
	onBroken(problem: ProblemError): void;
	/** Of one incoming message. */
	maxMessage: number;
	budget?: Budget;
	/** Patience with a full window or a half message, in milliseconds. */
	stallMs: number;
}

interface Outgoing {
	packed: Packed;
	sent: () => void;
}

export class Link {
	readonly #options: LinkOptions;
	#closed = false;
	// Outgoing
	readonly #queue: Outgoing[] = [];
	#current: { pieces: Uint8Array[]; index: number; at: number; left: number; begun: boolean; sent: () => void; length: number } | undefined;
	#unacked = 0;
	// Incoming
	#message: Uint8Array<ArrayBuffer> | undefined;
	#filled = 0;
	/** Bytes of frames of the message that is being received, not acknowledged yet. */
	#held = 0;
	/** Progress that earns new patience. */
	#expected = 0;
	/** Bytes of frames that came and were not acknowledged. */
	#owed = 0;
	/** Of these, dealt with. */
	#taken = 0;
	#stalledOut: ReturnType<typeof setTimeout> | undefined;
	#stalledIn: ReturnType<typeof setTimeout> | undefined;

	constructor(options: LinkOptions) {
		this.#options = options;
	}

	/** Resolves when the last byte has been handed to the socket (not: has arrived). Never resolves after `close`. */
	send(packed: Packed): Promise<void> {
		return new Promise((sent) => {
			if (this.#closed) return;
			this.#queue.push({ packed, sent });
			this.#pump();
		});
	}

	/** Whether everything given to `send` has left. */
	get idle(): boolean {
		return this.#current === undefined && this.#queue.length === 0;
	}

	close(): void {
		if (this.#closed) return;
		this.#closed = true;
		clearTimeout(this.#stalledOut);
		clearTimeout(this.#stalledIn);
		this.#queue.length = 0;
		this.#current = undefined;
		this.#dropMessage();
	}

	#dropMessage(): void {
		if (this.#message) this.#options.budget?.give(this.#message.length);
		this.#message = undefined;
	}

	#broken(problem: ProblemError): void {
		if (this.#closed) return;
		this.close();
		this.#options.onBroken(problem);
	}

	#pump(): void {
		while (!this.#closed) {
			if (!this.#current) {
				const next = this.#queue.shift();
				if (!next) break;
				const { pieces, length } = next.packed;
				this.#current = { pieces, index: 0, at: 0, left: length, begun: false, sent: next.sent, length };
			}
			const current = this.#current;
			const header = current.begun ? 1 : HEADER;
			const size = Math.min(MAX_FRAME, header + current.left);
			if (this.#unacked + size > WINDOW) {
				this.#stalledOut ??= setTimeout(() => this.#broken(stalled('takes nothing')), this.#options.stallMs);
				return;
			}
			const frame = new Uint8Array(size);
			frame[0] = current.begun ? MORE : BEGIN;
			if (!current.begun) new DataView(frame.buffer).setUint32(4, current.length, true);
			for (let at = header; at < size;) {
				const piece = current.pieces[current.index];
				if (!piece) throw new RangeError('A message is shorter than its pieces.');
				const bytes = piece.subarray(current.at, current.at + size - at);
				frame.set(bytes, at);
				at += bytes.length;
				current.at += bytes.length;
				if (current.at === piece.length) {
					current.index++;
					current.at = 0;
				}
			}
			current.begun = true;
			current.left -= size - header;
			this.#unacked += size;
			if (current.left === 0) this.#current = undefined;
			this.#options.send(frame);
			if (current.left === 0) current.sent();
		}
	}

	/** A frame as it came. */
	receive(frame: Uint8Array): void {
		if (this.#closed) return;
		try {
			this.#take(frame);
		} catch (error) {
			this.#broken(error instanceof ProblemError ? error : malformed('it broke the reader'));
		}
	}

	#take(frame: Uint8Array): void {
		const kind = frame[0];
		if (kind === ACK) return this.#acknowledged(frame);
		if (frame.length > MAX_FRAME) throw malformed('a frame is too long');
		this.#owed += frame.length;
		if (this.#owed > WINDOW) throw malformed('more came than the window allows');
		const bytes = kind === BEGIN ? this.#begin(frame) : frame.subarray(1);
		if (kind !== BEGIN && kind !== MORE) throw malformed('a frame is of an unknown kind');
		const message = this.#message;
		if (!message) throw malformed('a frame belongs to no message');
		if (this.#filled + bytes.length > message.length) throw malformed('more bytes came than were announced');
		if (bytes.length === 0 && message.length > 0) throw malformed('a frame is empty');
		message.set(bytes, this.#filled);
		this.#filled += bytes.length;
		if (this.#filled < message.length) {
			this.#expectMore();
			// A message that fits into the window is acknowledged as a whole, when it was dealt with.
			if (message.length > WINDOW / 2) this.#done(frame.length);
			else this.#held += frame.length;
			return;
		}
		clearTimeout(this.#stalledIn);
		this.#stalledIn = undefined;
		this.#message = undefined;
		const frames = this.#held + frame.length;
		this.#held = 0;
		void this.#deliver(message, frames);
	}

	/** Patience begins anew with every frame's worth, not with every byte. */
	#expectMore(): void {
		if (this.#stalledIn !== undefined && this.#filled < this.#expected) return;
		this.#expected = this.#filled + MAX_FRAME / 2;
		clearTimeout(this.#stalledIn);
		this.#stalledIn = setTimeout(() => this.#broken(stalled('stopped in the middle of a message')), this.#options.stallMs);
	}

	#begin(frame: Uint8Array): Uint8Array {
		if (this.#message) throw malformed('a message begins inside of another');
		if (frame.length < HEADER) throw malformed('a frame is too short');
		const length = new DataView(frame.buffer, frame.byteOffset, frame.byteLength).getUint32(4, true);
		const { maxMessage, budget } = this.#options;
		if (length > maxMessage) {
			const message = `A message of ${length} bytes is larger than the ${maxMessage} allowed. Large models are not sent: put them into one of the helper’s folders.`;
			throw new ProblemError(errorProblem('wire.tooLarge', 'connection', message, { bytes: length, limit: maxMessage }));
		}
		if (budget && !budget.take(length))
			throw new ProblemError(errorProblem('wire.busy', 'connection', 'The helper is receiving too much at once. Try again in a moment.', { bytes: length }));
		this.#message = new Uint8Array(length);
		this.#filled = 0;
		return frame.subarray(HEADER);
	}

	async #deliver(message: Uint8Array<ArrayBuffer>, frames: number): Promise<void> {
		try {
			await this.#options.onMessage(message);
			this.#done(frames);
		} catch (error) {
			this.#broken(error instanceof ProblemError ? error : malformed('it broke the reader'));
		} finally {
			this.#options.budget?.give(message.length);
		}
	}

	#done(bytes: number): void {
		if (this.#closed) return;
		this.#taken += bytes;
		if (this.#taken < ACK_AFTER) return;
		const frame = new Uint8Array(HEADER);
		frame[0] = ACK;
		new DataView(frame.buffer).setUint32(4, this.#taken, true);
		this.#owed -= this.#taken;
		this.#taken = 0;
		this.#options.send(frame);
	}

	#acknowledged(frame: Uint8Array): void {
		if (frame.length !== HEADER) throw malformed('an acknowledgement is not one');
		const bytes = new DataView(frame.buffer, frame.byteOffset, frame.byteLength).getUint32(4, true);
		if (bytes > this.#unacked) throw malformed('more was acknowledged than sent');
		this.#unacked -= bytes;
		clearTimeout(this.#stalledOut);
		this.#stalledOut = undefined;
		this.#pump();
	}
}

function stalled(what: string): ProblemError {
	return new ProblemError(
		errorProblem('wire.stalled', 'connection', `The other end of the connection ${what}. It is closed and can be opened again.`, { what })
	);
}
