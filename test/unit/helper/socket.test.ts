/** Attacks on the helper's socket, over real connections, while a run goes on: the run is unharmed, its log whole, and memory stays where it was. */
import { connect as connectTcp } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { defaultRecipe } from '../../../src/recipe/defaults';
import { pairHelper } from '../../../src/service/socket-client';
import { besiege, client, events, frame, hello, helper, inside, MEGABYTE, rude, show, trainer, work } from '../../support/attack';
import { openSocket, upgradeStatus } from '../../support/socket';

besiege();

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
/** In buffers, after everything that can be let go was. */
function bytesHeld(): number {
	collect();
	return process.memoryUsage().arrayBuffers;
}

const host = (): string => new URL(helper.origin).host;
const port = (): string => new URL(helper.origin).port;

describe('before the upgrade', () => {
	it.each([
		['another origin', { origin: 'https://evil.example' }, 403],
		['a longer origin', { origin: 'http://127.0.0.1:PORT.evil.example' }, 403],
		['a longer port', { origin: 'http://127.0.0.1:PORT1' }, 403],
		['another port', { origin: 'http://127.0.0.1:1' }, 403],
		['the origin with a path', { origin: 'http://127.0.0.1:PORT/' }, 403],
		['another scheme', { origin: 'https://127.0.0.1:PORT' }, 403],
		['user information', { origin: 'http://127.0.0.1:PORT@evil.example' }, 403],
		['another loopback address', { origin: 'http://127.0.0.2:PORT' }, 403],
		['capitals', { origin: 'HTTP://LOCALHOST:PORT' }, 403],
		['the null origin', { origin: 'null' }, 403],
		['the null origin with the token of the command line', { origin: 'null', authorization: 'CLI' }, 403],
		['an empty origin', { origin: '' }, 403],
		['no origin', {}, 403],
		['no origin and a wrong token', { authorization: 'Bearer nonsense' }, 403],
		['no origin and half a token', { authorization: 'Bearer ccccc' }, 403],
		['a page’s token as the command line’s', { authorization: 'PAGE' }, 403],
		['a rebound host', { origin: 'http://127.0.0.1:PORT', host: 'evil.example:PORT' }, 421],
		['a rebound host that is its origin too', { origin: 'http://evil.example:PORT', host: 'evil.example:PORT' }, 421],
		['a host with a dot', { origin: 'http://127.0.0.1:PORT', host: '127.0.0.1.:PORT' }, 421],
		['a host without port', { origin: 'http://127.0.0.1:PORT', host: '127.0.0.1' }, 421],
		['a host with a name before it', { origin: 'http://127.0.0.1:PORT', host: 'x@127.0.0.1:PORT' }, 421]
	])('%s is refused', async (_, given, status) => {
		const headers = Object.fromEntries(
			Object.entries(given).map(([name, value]) => [
				name,
				value.replace('PORT', port()).replace('CLI', `Bearer ${helper.cliToken}`).replace('PAGE', `Bearer ${helper.token}`)
			])
		);
		expect(await upgradeStatus(helper.url, headers)).toBe(status);
	});

	it('the helper’s own pages and the command line are let in', async () => {
		expect(await upgradeStatus(helper.url, { origin: helper.origin })).toBe(101);
		expect(await upgradeStatus(helper.url, { origin: `http://localhost:${port()}`, host: `localhost:${port()}` })).toBe(101);
		expect(await upgradeStatus(helper.url, { authorization: `Bearer ${helper.cliToken}` })).toBe(101);
	});

	it('an origin its owner allows may ask, until it is taken back', async () => {
		const origin = 'https://utsushi.example';
		expect(await upgradeStatus(helper.url, { origin })).toBe(403);
		await helper.pairings.allow(origin);
		expect(await upgradeStatus(helper.url, { origin })).toBe(101);
		expect(await upgradeStatus(helper.url, { origin: `${origin}.evil.example` })).toBe(403);
		await helper.pairings.disallow(origin);
		expect(await upgradeStatus(helper.url, { origin })).toBe(403);
	});

	it.each(['/', '/ws/', '/ws?token=x', '/WS', '//ws'])('there is no socket at %s', async (path) => {
		expect(await upgradeStatus(helper.url.replace('/ws', path), { origin: helper.origin })).not.toBe(101);
	});

	/** Raw, because clients forbid themselves what follows. */
	const raw = (head: string[]): Promise<string> =>
		new Promise((resolve) => {
			const socket = connectTcp(Number(port()), '127.0.0.1', () => socket.write(`${head.join('\r\n')}\r\n\r\n`));
			let text = '';
			socket.on('data', (data) => {
				text += data.toString('latin1');
				if (text.startsWith('HTTP/1.1 101')) socket.destroy();
			});
			socket.on('error', () => undefined);
			socket.on('close', () => resolve(text.split('\r\n')[0] ?? ''));
		});
	const key = ['Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=='];
	it('two origins, two hosts or another method are refused', async () => {
		const good = [`Host: ${host()}`, `Origin: ${helper.origin}`];
		expect(await raw(['GET /ws HTTP/1.1', ...good, ...key])).toContain(' 101 ');
		expect(await raw(['GET /ws HTTP/1.1', ...good, 'Origin: https://evil.example', ...key])).not.toContain(' 101 ');
		expect(await raw(['GET /ws HTTP/1.1', 'Host: evil.example', ...good, ...key])).not.toContain(' 101 ');
		expect(await raw(['POST /ws HTTP/1.1', ...good, ...key])).not.toContain(' 101 ');
		expect(await raw(['GET http://evil.example/ws HTTP/1.1', ...good, ...key])).not.toContain(' 101 ');
	});
});

describe('before the welcome', () => {
	it.each([
		['no token', () => hello({ token: '' }), 'pairing.token'],
		['a wrong token', () => hello({ token: 'x'.repeat(43) }), 'pairing.token'],
		['a token with one letter more', () => hello({ token: `${helper.token}A` }), 'pairing.token'],
		['the command line’s token', () => hello({ token: helper.cliToken }), 'pairing.token'],
		['an older version', () => hello({ version: 0 }), 'protocol.helperVersion'],
		['a newer version', () => hello({ version: 99 }), 'protocol.helperVersion'],
		['a wrong code', () => JSON.stringify({ type: 'pair', version: 1, code: 'AAAA-AAAA' }), 'pairing.code'],
		['a session with a path', () => hello({ session: '../../../etc/passwd' }), 'wire.malformed'],
		['a list that is none', () => hello({ runs: [1] }), 'wire.malformed'],
		['too many runs', () => hello({ runs: Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`r${i}`, 0])) }), 'wire.malformed'],
		['anything else', () => '{"type":"__proto__"}', 'wire.malformed'],
		['no JSON', () => 'GET / HTTP/1.1', 'wire.malformed']
	])('%s is refused, with a reason', async (_, words, code) => {
		const { socket, opened, closed, messages } = rude();
		await opened;
		socket.send(words());
		expect(await closed).toBe(4401);
		expect(messages).toMatchObject([{ type: 'refused', problem: { code } }]);
	});

	it('a token works only from the origin it was given to', async () => {
		const other = `http://localhost:${port()}`;
		const { socket, opened, closed, messages } = rude({ origin: other });
		await opened;
		socket.send(hello());
		expect(await closed).toBe(4401);
		expect(messages).toMatchObject([{ problem: { code: 'pairing.token' } }]);
	});

	it('a code works once', async () => {
		const code = await helper.pairings.newCode();
		const once = (): Promise<string> => pairHelper({ url: helper.url, code, open: openSocket({ origin: helper.origin }) });
		expect(await once()).toMatch(/^[\w-]{43}$/);
		await expect(once()).rejects.toMatchObject({ problem: { code: 'pairing.code' } });
	});

	it('who says nothing, or too much, or bytes, is shown the door', async () => {
		const silent = rude();
		expect(await silent.closed).toBe(1006);
		const loud = rude();
		await loud.opened;
		loud.socket.send('x'.repeat(2 ** 18 + 1));
		expect([1006, 1009]).toContain(await loud.closed);
		const binary = rude();
		await binary.opened;
		binary.socket.send(frame({ type: 'request', id: 1, request: { type: 'stop', run: 'night', save: false } }));
		expect(await binary.closed).toBe(4401);
	});

	it('what comes before the welcome is not done', async () => {
		const { socket, opened, closed } = rude();
		await opened;
		socket.send(hello({ token: 'wrong' }));
		for (let i = 0; i < 10; i++) socket.send(frame({ type: 'request', id: i, request: { type: 'stop', run: 'night', save: false } }));
		await closed;
	});

	it('a pairing that is taken back ends connections, and nothing comes in with it any more', async () => {
		const token = await pairHelper({ url: helper.url, code: await helper.pairings.newCode(), open: openSocket({ origin: helper.origin }) });
		const states: string[] = [];
		const paired = await helper.connect({ token, retryMs: 20, onState: ({ state }) => states.push(state) });
		expect(await paired.request({ type: 'listRuns' })).toHaveLength(1);
		const [last] = (await helper.pairings.list()).slice(-1);
		expect(await helper.pairings.revoke(last?.id ?? '')).toBe(1);
		await expect.poll(() => states.at(-1), { timeout: 5000 }).toBe('refused');
		await expect(paired.request({ type: 'listRuns' })).rejects.toMatchObject({ problem: { code: 'pairing.token' } });
		await expect(helper.connect({ token })).rejects.toMatchObject({ problem: { code: 'pairing.token' } });
	});
});

describe('inside', () => {
	it.each([
		['a message too large', Uint8Array.from([1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff])],
		['a frame of an unknown kind', Uint8Array.from([9, 9, 9])],
		['a piece of nothing', Uint8Array.from([2, 1])],
		['bytes that are no message', Uint8Array.from([1, 0, 0, 0, 2, 0, 0, 0, 7, 7])],
		['an acknowledgement of nothing', Uint8Array.from([3, 0, 0, 0, 255, 255, 255, 255])],
		['an empty frame', new Uint8Array(0)]
	])('%s ends that connection', async (_, bytes) => {
		const { socket, closed } = await inside();
		socket.send(bytes);
		expect(await closed).toBe(4400);
	});

	it('text after the welcome ends it too', async () => {
		const { socket, closed } = await inside();
		socket.send('{}');
		expect(await closed).toBe(4400);
	});

	it('a message that is never finished is given up, and its memory given back', async () => {
		const all = await Promise.all(Array.from({ length: 3 }, () => inside()));
		for (const { socket } of all) socket.send(Uint8Array.from([1, 0, 0, 0, 0, 0, 0x30, 0, 1])); // 3 MiB announced
		for (const { closed } of all) expect(await closed).toBe(4400);
		const data = new Uint8ClampedArray(4 * 800 * 800);
		trainer.answer = ({ type }) => (type === 'estimate' ? { seen: true } : undefined);
		const picture = { width: 800, height: 800, data };
		expect(await client.request({ type: 'estimate', request: { modelId: 'm', recipe: defaultRecipe('mini'), original: picture } })).toEqual({ seen: true });
		trainer.answer = undefined;
	});

	it('a client that never reads is not waited for, and nothing is kept for it', async () => {
		const before = bytesHeld();
		const readers = await Promise.all(Array.from({ length: 8 }, () => inside({ runs: { night: -1 } })));
		for (const { socket } of readers) socket.pause();
		const picture = { width: 512, height: 512, data: new Uint8ClampedArray(MEGABYTE) };
		for (let i = 0; i < 40; i++) {
			show({ type: 'preview', pass: 'difference', step: i, seed: 1, strength: 1, picture });
			await new Promise((later) => setTimeout(later, 5));
		}
		await expect.poll(() => helper.sockets.size, { timeout: 10_000 }).toBe(1);
		// 320 MB would have been theirs; the honest client, in this process too, has 40.
		expect(bytesHeld() - before).toBeLessThan((40 + 24) * MEGABYTE);
		for (const { socket } of readers) socket.terminate();
		// What the honest client got is dropped, so that the next tests compare less.
		for (const message of events) if (message.event.type === 'preview') message.event.picture.data = new Uint8ClampedArray(0);
	});

	it('more requests than allowed at a time wait on the wire', async () => {
		let open: () => void = () => undefined;
		const gate = new Promise<null>((resolve) => (open = () => resolve(null)));
		trainer.answer = ({ type }) => (type === 'closeModel' ? gate : undefined);
		const before = trainer.asked.length;
		const answers = Array.from({ length: 200 }, () => client.request({ type: 'closeModel', modelId: 'm' }));
		await new Promise((later) => setTimeout(later, 100));
		expect(trainer.asked.length - before).toBe(64);
		open();
		expect((await Promise.all(answers)).length).toBe(200);
		trainer.answer = undefined;
	});

	it('a thousand connections are mostly turned away, and the run does not notice', async () => {
		const statuses = await Promise.all(
			Array.from({ length: 1000 }, () => {
				work(1);
				return new Promise<number>((resolve) => {
					const socket = new WebSocket(helper.url, { origin: helper.origin });
					socket.on('open', () => resolve(101));
					socket.on('unexpected-response', (request, response) => {
						resolve(response.statusCode ?? 0);
						request.destroy();
					});
					socket.on('error', () => resolve(0));
				});
			})
		);
		const opened = statuses.filter((status) => status === 101).length;
		expect(opened).toBeGreaterThan(0);
		expect(helper.sockets.size).toBeLessThanOrEqual(17);
		// Those that say nothing leave, and then there is room again.
		await expect.poll(() => helper.sockets.size, { timeout: 5000 }).toBe(1);
		const another = await helper.connect();
		expect(await another.request({ type: 'listRuns' })).toMatchObject([{ run: 'night', state: 'running' }]);
		another.close();
	});
});
