/** `utsushi pair`: which pages may use the helper. Works on one that is running too, because that reads the same file. */
import { errorProblem } from '../jobs/problem';
import { EXIT, type Context, type ExitCode } from './exit';
import { InputError } from './inputError';
import type { Given } from './labArguments';
import { Pairings, plainOrigin } from './pairing';

export interface PairCommand {
	name: 'pair';
	action: 'code' | 'list' | 'revoke' | 'allow' | 'disallow';
	/** What it is done to: the id of a pairing or `all`, an origin. */
	what: string;
	json: boolean;
}

/** Words behind `utsushi pair` as a command. */
export function pairCommand(values: Given): PairCommand {
	const json = values.flag('json');
	const given = (['revoke', 'allow', 'disallow'] as const).flatMap((action) => {
		const what = values.text(action);
		return what === undefined ? [] : [{ action, what }];
	});
	const list = values.flag('list');
	if (given.length + Number(list) > 1) return values.fail('pair does one thing at a time: --list, --revoke, --allow or --disallow.');
	const [first] = given;
	if (!first) return { name: 'pair', action: list ? 'list' : 'code', what: '', json };
	if (first.what === '') return values.fail(`--${first.action} wants ${first.action === 'revoke' ? 'the id of “utsushi pair --list”, or all' : 'an address'}.`);
	return { name: 'pair', ...first, json };
}

function originOf(text: string): string {
	const origin = plainOrigin(text);
	if (origin !== undefined) return origin;
	const message = `“${text}” is not the address of a page. Give it as the browser shows it, beginning with https:// (or http://).`;
	throw new InputError([errorProblem('path.origin', 'pair', message, { given: text })]);
}

export async function pair(command: PairCommand, { streams }: Context, pairings = new Pairings()): Promise<ExitCode> {
	const { action, what, json } = command;
	switch (action) {
		case 'code': {
			const code = await pairings.newCode();
			streams.out(json ? `${JSON.stringify({ code })}\n` : `${code}\n`);
			if (streams.terminal) streams.err('Enter this code on the page that asks for it. It works once, for ten minutes.\n');
			return EXIT.done;
		}
		case 'list': {
			const [list, origins] = [await pairings.list(), await pairings.origins()];
			if (json) {
				streams.out(`${JSON.stringify({ pairings: list.map(({ id, origin, since }) => ({ id, origin, since })), origins })}\n`);
				return EXIT.done;
			}
			for (const { id, origin, since } of list) streams.out(`${id}  ${new Date(since).toISOString().slice(0, 16).replace('T', ' ')}  ${origin}\n`);
			for (const origin of origins) streams.out(`allowed to ask: ${origin}\n`);
			if (list.length === 0) streams.err('No page is paired.\n');
			return EXIT.done;
		}
		case 'revoke': {
			const count = await pairings.revoke(what);
			if (count === 0 && what !== 'all') {
				const message = `There is no pairing “${what}”. See “utsushi pair --list”.`;
				throw new InputError([errorProblem('path.pairing', 'pair', message, { given: what })]);
			}
			streams.err(`${count} ${count === 1 ? 'page is' : 'pages are'} not paired any more.\n`);
			return EXIT.done;
		}
		case 'allow':
			await pairings.allow(originOf(what));
			streams.err(`Pages at ${originOf(what)} may ask to be paired now.\n`);
			return EXIT.done;
		case 'disallow':
			await pairings.disallow(originOf(what));
			streams.err(`Pages at ${originOf(what)} are refused now.\n`);
			return EXIT.done;
	}
}
