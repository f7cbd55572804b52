/**
 * Pairings as a page sees them: who is paired, and taking one back, so that nobody has to open a terminal for it.
 *
 * Rule: the helper's own page and the command line see all pairings; a page of another origin sees and takes back only those of its origin. No hash or token ever leaves.
 */
import type { HelperReplyOf, PairedPage } from '../service/helper-protocol';
import type { Request } from '../service/protocol';
import type { Pairings } from './pairing';

export interface Asker {
	/** Of the pairing, or `cli`. */
	id: string;
	origin: string;
	/** A page of the helper itself, or the command line. */
	isOwn: boolean;
}

async function visible({ id: own, origin, isOwn }: Asker, pairings: Pairings): Promise<PairedPage[]> {
	const all = (await pairings.list()).filter((pairing) => isOwn || pairing.origin === origin);
	return all.map((pairing) => ({ id: pairing.id, origin: pairing.origin, since: pairing.since, own: pairing.id === own }));
}

async function takeBack(id: string, asker: Asker, pairings: Pairings): Promise<HelperReplyOf['unpair']> {
	if (!(await visible(asker, pairings)).some((page) => page.id === id)) return { found: false };
	return { found: (await pairings.revoke(id)) > 0 };
}

/** undefined: the request is about something else */
export function answerPairing(
	request: Request,
	asker: Asker,
	pairings: Pairings
): Promise<HelperReplyOf['listPairings']> | Promise<HelperReplyOf['unpair']> | undefined {
	if (request.type === 'listPairings') return visible(asker, pairings);
	if (request.type === 'unpair') return takeBack(request.id ?? asker.id, asker, pairings);
	return undefined;
}
