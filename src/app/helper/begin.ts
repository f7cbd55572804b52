/** A page that is paired: connects where nothing has to be asked, follows the wish for a place, takes up what went on meanwhile. */
import { appQueue } from '../queue/queue.svelte';
import { helper } from './connection.svelte';
import { placing } from './placing.svelte';

export async function begin(): Promise<void> {
	placing.start();
	if (helper.state === 'open' || (await helper.begin())) await appQueue.takeUp();
}
