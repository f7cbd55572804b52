/**
 * The helper's WebSocket at `/ws`, beside the app: who may open it, and what becomes of a connection.
 *
 * Rules
 * - Before the upgrade: path, method, exact Host (DNS rebinding), exact Origin out of the helper's own and those its owner allowed. Missing or `null` is refused; only the
 *   command line comes without an origin, with the token of a file that nobody else can read.
 * - After it the first text must be a pairing code or a token bound to that origin, within seconds. Tokens are never in an address.
 * - Few strangers at a time, few connections at all; everything has a size, and nothing is kept for a client that does not read (`service/link.ts`, `service/session.ts`).
 * - What a client does wrong ends its connection. It never ends a run, whatever it is.
 */
import { timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer, type RawData, type WebSocket } from 'ws';
import type { Problem } from '../jobs/events';
import { errorProblem, type ProblemError } from '../jobs/problem';
import { CLOSE, MAX_HANDSHAKE, readClientWords, SOCKET_PATH, type HelperInfo, type HelperWords } from '../service/handshake';
import { Budget, Link, MAX_FRAME } from '../service/link';
import { PROTOCOL_VERSION, type Request } from '../service/protocol';
import type { RunHouse } from '../service/run-house';
import { Sessions, type Session } from '../service/session';
import type { Pairings } from './pairing';
import { answerPairing } from './pairingRequests';

export interface SocketLimits {
	/** Connections that have not said who they are. */
	strangers: number;
	connections: number;
	/** Of one message. */
	message: number;
	/** Of all messages that are being received. */
	total: number;
	handshakeMs: number;
	stallMs: number;
	/** Between two pings; a client that answers none of two is gone. */
	pingMs: number;
	/** From the answer that a pairing is taken back to the end of its connections. */
	partingMs: number;
}

export const SOCKET_LIMITS: SocketLimits = {
	strangers: 16,
	connections: 64,
	message: 2 ** 29 + 2 ** 24,
	total: 2 ** 30,
	handshakeMs: 5000,
	stallMs: 60_000,
	pingMs: 20_000,
	partingMs: 200
};

export interface SocketOptions {
	house: RunHouse;
	helper: HelperInfo;
	pairings: Pairings;
	/** The command line's own token. */
	token: string;
	/** Hosts (and with `http://` before them, origins) that are this server itself. */
	hosts: readonly string[];
	limits?: Partial<SocketLimits>;
	/** Something the helper's owner should see. */
	note?: (text: string) => void;
	/** A code was used; somebody else may want one. */
	onPaired?: (origin: string) => void;
}

/** Who a connection belongs to. */
interface Owner {
	/** Of the pairing, or `cli`. */
	id: string;
	origin: string;
}

interface Connection {
	socket: WebSocket;
	owner: Owner | undefined;
	alive: boolean;
}

export interface SocketServer {
	/** Connections that are open. */
	readonly size: number;
	close(): Promise<void>;
}

function refuseUpgrade(stream: Duplex, status: string, text: string): void {
	stream.on('error', () => undefined);
	stream.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`);
}

function sameSecret(a: string, b: string): boolean {
	const [left, right] = [Buffer.from(a), Buffer.from(b)];
	return left.length === right.length && timingSafeEqual(left, right);
}

/** Once and only once, or it is not there at all: a proxy's second header must not be overlooked. */
function single(request: IncomingMessage, name: string): string | undefined {
	const values = request.headersDistinct[name];
	return values?.length === 1 ? values[0] : undefined;
}

function bytesOf(data: RawData): Uint8Array {
	if (Array.isArray(data)) return Buffer.concat(data);
	return data instanceof ArrayBuffer ? new Uint8Array(data) : data;
}

class Sockets implements SocketServer {
	readonly #server = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: Math.max(MAX_FRAME, MAX_HANDSHAKE), clientTracking: false });
	readonly #connections = new Set<Connection>();
	readonly #sessions: Sessions;
	readonly #budget: Budget;
	readonly #limits: SocketLimits;
	readonly #pings: ReturnType<typeof setInterval>;
	/** By session: a client has one connection at a time. */
	readonly #current = new Map<Session, WebSocket>();
	readonly #noted = new Set<string>();
	#checked = performance.now();

	constructor(private readonly options: SocketOptions) {
		this.#limits = { ...SOCKET_LIMITS, ...options.limits };
		this.#sessions = new Sessions(options.house);
		this.#budget = new Budget(this.#limits.total);
		this.#pings = setInterval(() => void this.#check(), this.#limits.pingMs);
		this.#pings.unref();
	}

	get size(): number {
		return this.#connections.size;
	}

	/** Everything that is decided before the 101. */
	async upgrade(request: IncomingMessage, stream: Duplex, head: Buffer): Promise<void> {
		stream.on('error', () => undefined);
		if (request.method !== 'GET' || request.url !== SOCKET_PATH) return refuseUpgrade(stream, '404 Not Found', 'There is no socket here.\n');
		if (!this.options.hosts.includes(single(request, 'host') ?? ''))
			return refuseUpgrade(stream, '421 Misdirected Request', 'This is the helper of Utsushi; it has another address.\n');
		const origin = request.headers.origin === undefined ? undefined : (single(request, 'origin') ?? 'null');
		let owner: Owner | undefined;
		if (origin === undefined) {
			const given = single(request, 'authorization') ?? '';
			if (!sameSecret(given, `Bearer ${this.options.token}`)) return refuseUpgrade(stream, '403 Forbidden', 'An origin or a token is needed.\n');
			owner = { id: 'cli', origin: '' };
		} else if (!(await this.#isAllowed(origin))) {
			this.#noteOrigin(origin);
			return refuseUpgrade(stream, '403 Forbidden', 'This origin is not allowed.\n');
		}
		const strangers = [...this.#connections].filter((connection) => connection.owner === undefined).length;
		if ((!owner && strangers >= this.#limits.strangers) || this.#connections.size >= this.#limits.connections)
			return refuseUpgrade(stream, '503 Service Unavailable', 'Too many connections.\n');
		this.#server.handleUpgrade(request, stream, head, (socket) => this.#opened(socket, origin ?? '', owner));
	}

	/** Each once, and not without end: the terminal belongs to the helper's owner. */
	#noteOrigin(origin: string): void {
		if (this.#noted.has(origin) || this.#noted.size >= 20) return;
		this.#noted.add(origin);
		this.options.note?.(`A page at ${printable(origin)} wanted to connect and was refused. If it is yours: utsushi pair --allow ${printable(origin)}`);
	}

	/** A page that this server serves itself. */
	#isOwn(origin: string): boolean {
		return this.options.hosts.some((host) => origin === `http://${host}`);
	}

	async #isAllowed(origin: string): Promise<boolean> {
		if (this.#isOwn(origin)) return true;
		return origin !== 'null' && (await this.options.pairings.origins()).includes(origin);
	}

	#opened(socket: WebSocket, origin: string, known: Owner | undefined): void {
		const connection: Connection = { socket, owner: known, alive: true };
		this.#connections.add(connection);
		const patience = setTimeout(() => socket.terminate(), this.#limits.handshakeMs);
		socket.on('pong', () => (connection.alive = true));
		socket.on('error', () => undefined); // `close` follows
		socket.on('close', () => {
			clearTimeout(patience);
			this.#connections.delete(connection);
		});
		socket.once('message', (data, isBinary) => {
			clearTimeout(patience);
			const text = isBinary ? '' : Buffer.from(bytesOf(data)).toString('utf8');
			this.#introduced(connection, origin, text).catch(() => socket.terminate());
		});
	}

	#say(socket: WebSocket, words: HelperWords): void {
		socket.send(JSON.stringify(words));
	}

	#refuse(socket: WebSocket, problem: Problem): void {
		this.#say(socket, { type: 'refused', problem });
		this.#part(socket, CLOSE.refused, problem.code);
	}

	async #introduced(connection: Connection, origin: string, text: string): Promise<void> {
		const { socket } = connection;
		// Words come one by one: what follows before the answer is not read.
		socket.pause();
		const words = readClientWords(text);
		if (!words) {
			this.#refuse(
				socket,
				errorProblem('wire.malformed', 'connection', 'The first message on the connection is neither a token nor a pairing code.', { detail: 'hello' })
			);
			return;
		}
		if (words.version !== PROTOCOL_VERSION) {
			const [older, newer] = words.version < PROTOCOL_VERSION ? ['app', 'helper'] : ['helper', 'app'];
			const message = `The app speaks version ${words.version} of the protocol, the helper version ${PROTOCOL_VERSION}: the ${newer} is newer. Update the ${older} (reload the page, or install the new Utsushi), then they understand each other.`;
			this.#refuse(socket, errorProblem('protocol.helperVersion', 'helper', message, { version: words.version, own: PROTOCOL_VERSION }));
			return;
		}
		if (words.type === 'pair') {
			const result = connection.owner ? undefined : await this.options.pairings.redeem(words.code, origin);
			if (!result || 'problem' in result) {
				this.#refuse(socket, result?.problem ?? errorProblem('pairing.code', 'pairing', 'The command line needs no pairing.'));
				return;
			}
			this.#say(socket, { type: 'paired', token: result.token });
			this.#part(socket, 1000, '');
			this.options.onPaired?.(origin);
			return;
		}
		if (!connection.owner) {
			const pairing = await this.options.pairings.find(words.token, origin);
			if (!pairing) {
				const message = 'This page is not paired with the helper (any more). Show a code with “utsushi pair” and enter it here.';
				this.#refuse(socket, errorProblem('pairing.token', 'pairing', message));
				return;
			}
			connection.owner = { id: pairing.id, origin };
		}
		this.#welcome(connection, connection.owner, words.session, words.pending, words.runs);
	}

	#welcome({ socket }: Connection, owner: Owner, name: string, pending: readonly number[], runs: Readonly<Record<string, number>>): void {
		const session = this.#sessions.open(owner.id, name, Date.now(), (request) => this.#answerPairing(request, owner));
		const before = this.#current.get(session);
		if (before) this.#part(before, CLOSE.replaced, 'replaced');
		this.#current.set(session, socket);
		const link = new Link({
			send: (frame) => {
				if (socket.readyState === socket.OPEN) socket.send(frame);
			},
			onMessage: (message) => session.receive(message),
			onBroken: (problem) => this.#broken(socket, problem),
			maxMessage: this.#limits.message,
			budget: this.#budget,
			stallMs: this.#limits.stallMs
		});
		const known = session.attach({ send: (packed) => link.send(packed) }, pending, runs);
		// First the answer: frames mean nothing to a client that was not welcomed.
		this.#say(socket, { type: 'welcome', version: PROTOCOL_VERSION, helper: this.options.helper, known });
		session.begin();
		socket.on('message', (data, isBinary) => {
			if (isBinary) link.receive(bytesOf(data));
			else this.#part(socket, CLOSE.broken, 'text');
		});
		socket.on('close', () => {
			link.close();
			if (this.#current.get(session) === socket) {
				this.#current.delete(session);
				session.leave(Date.now());
			}
		});
		socket.resume();
	}

	#broken(socket: WebSocket, { problem }: ProblemError): void {
		this.#part(socket, CLOSE.broken, problem.code);
	}

	/** Closes, and does not wait long for the answer: whoever does not read does not answer either. */
	#part(socket: WebSocket, code: number, reason: string): void {
		socket.resume(); // or the answer would never be read
		socket.close(code, reason);
		setTimeout(() => socket.terminate(), 1000).unref();
	}

	#answerPairing(request: Request, owner: Owner): Promise<unknown> | undefined {
		const isOwn = owner.id === 'cli' || this.#isOwn(owner.origin);
		const answer = answerPairing(request, { ...owner, isOwn }, this.options.pairings);
		// The answer first, then the end.
		if (request.type === 'unpair') void answer?.then(() => setTimeout(() => void this.#endRevoked(), this.#limits.partingMs).unref());
		return answer;
	}

	/** Ends connections that do not answer, and those of pairings that were taken back. */
	async #check(): Promise<void> {
		const now = performance.now();
		// While something kept this process busy, answers were not read; that is not the clients' fault.
		const late = now - this.#checked > this.#limits.pingMs * 1.5;
		this.#checked = now;
		for (const connection of this.#connections) {
			if (!connection.alive && !late) connection.socket.terminate();
			connection.alive = false;
			if (connection.socket.readyState === connection.socket.OPEN) connection.socket.ping();
		}
		await this.#endRevoked();
	}

	async #endRevoked(): Promise<void> {
		const pairings = new Set((await this.options.pairings.list().catch(() => undefined))?.map(({ id }) => id));
		for (const { socket, owner } of this.#connections)
			if (owner && owner.id !== 'cli' && !pairings.has(owner.id)) this.#part(socket, CLOSE.refused, 'pairing.token');
	}

	async close(): Promise<void> {
		clearInterval(this.#pings);
		this.#sessions.close();
		const closed = [...this.#connections].map(
			({ socket }) =>
				new Promise<void>((resolve) => {
					socket.once('close', () => resolve());
					socket.close(CLOSE.ending, 'ending');
					setTimeout(() => socket.terminate(), 500).unref();
				})
		);
		await Promise.all(closed);
		this.#server.close();
	}
}

/** For a terminal: nothing that moves its cursor. */
function printable(text: string): string {
	return [...text.slice(0, 100)].map((c) => (c < ' ' || c === '\u007f' ? '?' : c)).join('');
}

/** Puts the socket on a server that listens already. */
export function serveSocket(server: Server, options: SocketOptions): SocketServer {
	const sockets = new Sockets(options);
	server.on('upgrade', (request: IncomingMessage, stream: Duplex, head: Buffer) => {
		sockets.upgrade(request, stream, head).catch(() => stream.destroy());
	});
	return sockets;
}
