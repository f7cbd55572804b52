/** Taking pairings back from a page: who sees which, what happens to connections, and that nothing secret is told. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { connectHelper, pairHelper, type HelperState } from '../../../src/service/socket-client';
import type { TrainerClient } from '../../../src/service/protocol';
import { ScriptedTrainer } from '../../support/scripted-host';
import { openSocket } from '../../support/socket';
import { openSocketHouse, type SocketHouse } from '../../support/transports';

const OTHER = 'https://other.example';
let helper: SocketHouse;
const clients: TrainerClient[] = [];

beforeEach(async () => {
	helper = await openSocketHouse(new ScriptedTrainer(), { limits: { partingMs: 1 } });
	await helper.pairings.allow(OTHER);
});
afterEach(async () => {
	for (const client of clients.splice(0)) client.close();
	await helper.close();
});

/** A page of that origin, newly paired. */
async function page(origin: string, states: HelperState[] = []): Promise<TrainerClient> {
	const open = openSocket({ origin });
	const token = await pairHelper({ url: helper.url, code: await helper.pairings.newCode(), open });
	const client = await connectHelper({ url: helper.url, token, open, onState: (state) => states.push(state), retryMs: 5 });
	clients.push(client);
	return client;
}

it('the helper’s own page sees all and takes any back; that page is refused from then on', async () => {
	const states: HelperState[] = [];
	const [own, other] = [await page(helper.origin), await page(OTHER, states)];
	const pages = await own.request({ type: 'listPairings' });
	expect(pages.map(({ origin, own: mine }) => [origin, mine])).toEqual([
		[helper.origin, false],
		[helper.origin, true],
		[OTHER, false]
	]);
	expect(Object.keys(pages[0] ?? {}).sort()).toEqual(['id', 'origin', 'own', 'since']);
	expect(await other.request({ type: 'listRuns' })).toEqual([]);
	expect(await own.request({ type: 'unpair', id: pages[2]?.id ?? '' })).toEqual({ found: true });
	await expect.poll(() => states.at(-1)).toMatchObject({ state: 'refused', problem: { code: 'pairing.token' } });
	await expect(other.request({ type: 'listRuns' })).rejects.toMatchObject({ problem: { code: 'pairing.token' } });
	expect(await own.request({ type: 'unpair', id: pages[2]?.id ?? '' })).toEqual({ found: false });
	expect(await own.request({ type: 'listPairings' })).toHaveLength(2);
});

it('a page of another origin sees and takes back its own only, never all at once', async () => {
	const states: HelperState[] = [];
	const [own, other] = [await page(helper.origin), await page(OTHER, states)];
	const seen = await other.request({ type: 'listPairings' });
	expect(seen.map(({ origin }) => origin)).toEqual([OTHER]);
	for (const { id, origin } of await own.request({ type: 'listPairings' }))
		if (origin !== OTHER) expect(await other.request({ type: 'unpair', id })).toEqual({ found: false });
	expect(await own.request({ type: 'unpair', id: 'all' })).toEqual({ found: false });
	expect(await helper.pairings.list()).toHaveLength(3);
	// Its answer comes before its end.
	expect(await other.request({ type: 'unpair', id: null })).toEqual({ found: true });
	await expect.poll(() => states.at(-1)?.state).toBe('refused');
	expect((await helper.pairings.list()).map(({ origin }) => origin)).toEqual([helper.origin, helper.origin]);
});
