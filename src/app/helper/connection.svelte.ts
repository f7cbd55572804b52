/**
 * The page's connection to the helper on this computer: pairs, connects (quietly only where the browser will not ask anything), says how it stands, and knows the helper's
 * models and runs. Loaded when a helper is known or its page is opened.
 */
import type { AdapterSummary, ModelSource, Problem, TrainerClient } from '../../service/protocol';
import type { NamedModel, NamedModels, PairedPage, RunSummary } from '../../service/helper-protocol';
import { toProblem, trainer, type Place } from '../train/trainer.svelte';
import { helperUrl, pairing, servedByHelper } from './pairing.svelte';

export type ConnectionState =
	/** Not connected, and nobody has asked for it. */
	'off' | 'connecting' | 'open' | 'lost' | 'refused';

/** The browser's names for "may this site reach this computer": new ones come, unknown ones throw. */
const PERMISSIONS = ['loopback-network', 'local-network-access'];

/** Whether the browser would ask before it connects. A page that the helper itself serves is never asked. */
export async function browserWillAsk(): Promise<boolean> {
	if (servedByHelper() !== null) return false;
	for (const name of PERMISSIONS) {
		try {
			const { state } = await navigator.permissions.query({ name: name as PermissionName });
			if (state === 'granted') return false;
			if (state === 'prompt') return true;
		} catch {
			// this browser has no such permission
		}
	}
	return false;
}

class HelperConnection {
	state = $state<ConnectionState>('off');
	version = $state('');
	/** Why it is refused, or could not be reached. */
	problem = $state.raw<Problem | null>(null);
	models = $state.raw<NamedModels | null>(null);
	runs = $state.raw<RunSummary[] | null>(null);
	/** Pages that may use the helper, as far as this one may know. */
	pages = $state.raw<PairedPage[] | null>(null);
	busy = $state(false);
	#client: TrainerClient | null = null;
	#whenOpen: (() => void)[] = [];

	get adapter(): AdapterSummary | null {
		return trainer.at.helper.adapter;
	}

	constructor() {
		trainer.translate = (source, place) => this.#translate(source, place);
	}

	/** For `trainer.at.helper`: a client of the paired helper. Errors: ServiceError */
	async client(): Promise<TrainerClient> {
		const known = pairing.pairing;
		if (!known) {
			const message = 'This page is not paired with a helper yet. Open the page “Helper” and type the code that its terminal shows.';
			throw Object.assign(new Error(message), { problem: { level: 'error', code: 'helper.unpaired', where: 'helper', values: {}, message } satisfies Problem });
		}
		const { connectHelper } = await import('../../service/socket-client');
		this.state = 'connecting';
		try {
			this.#client = await connectHelper({
				url: known.url,
				token: known.token,
				onState: (now) => {
					if (now.state === 'refused') this.problem = now.problem;
					if (now.state === 'open') {
						this.problem = null;
						this.version = now.helper.version;
						if (now.restarted) trainer.at.helper.renew();
						for (const tell of this.#whenOpen.splice(0)) tell();
					}
					// A first connection that fails is told by the error below.
					this.state = now.state === 'connecting' && this.state === 'lost' ? 'lost' : now.state;
					if (now.state === 'refused') trainer.at.helper.forget();
				}
			});
			return this.#client;
		} catch (error) {
			this.problem = toProblem(error, 'helper');
			if ((this.state as ConnectionState) !== 'refused') this.state = 'off';
			throw error;
		}
	}

	/** True when it answers. From a click, or where `browserWillAsk` says no. */
	async connect(): Promise<boolean> {
		if (this.state === 'lost') await new Promise<void>((resolve) => this.#whenOpen.push(resolve));
		const there = await trainer.at.helper.hello();
		if (this.state === 'open') await this.refresh();
		return there;
	}

	/** At the start of the page: nothing that the browser would ask about. */
	async begin(): Promise<boolean> {
		if (!pairing.pairing || (await browserWillAsk())) return false;
		return this.connect().catch(() => false);
	}

	/** What the helper has and does now. */
	async refresh(): Promise<void> {
		try {
			const at = trainer.at.helper;
			[this.models, this.runs, this.pages] = await Promise.all([
				at.request({ type: 'listModels' }),
				at.request({ type: 'listRuns' }),
				// An older helper has no such list.
				at.request({ type: 'listPairings' }).catch(() => null)
			]);
		} catch (error) {
			this.problem = toProblem(error, 'helper');
		}
	}

	async refreshRuns(): Promise<RunSummary[]> {
		this.runs = await trainer.at.helper.request({ type: 'listRuns' });
		return this.runs;
	}

	/** With the code from its terminal. The browser may ask whether this site may reach this computer: only ever after a click. */
	async pair(port: number, code: string): Promise<boolean> {
		this.busy = true;
		this.problem = null;
		try {
			const { pairHelper } = await import('../../service/socket-client');
			const url = helperUrl(port);
			const token = await pairHelper({ url, code });
			this.#leave();
			pairing.pairing = { url, token, since: Date.now() };
			return await this.connect();
		} catch (error) {
			this.problem = toProblem(error, 'helper');
			return false;
		} finally {
			this.busy = false;
		}
	}

	#leave(): void {
		this.#client?.close();
		this.#client = null;
		trainer.at.helper.forget();
		this.state = 'off';
		this.models = null;
		this.runs = null;
		this.pages = null;
	}

	/** Takes another page's pairing back at the helper. */
	async unpair(id: string): Promise<boolean> {
		try {
			const { found } = await trainer.at.helper.request({ type: 'unpair', id });
			this.pages = await trainer.at.helper.request({ type: 'listPairings' });
			return found;
		} catch (error) {
			this.problem = toProblem(error, 'helper');
			return false;
		}
	}

	/** This browser forgets the helper, and the helper this page if it answers; runs there go on. */
	async forget(): Promise<void> {
		if (this.state === 'open') {
			const told = trainer.at.helper.request({ type: 'unpair', id: null }).catch(() => undefined);
			await Promise.race([told, new Promise((later) => setTimeout(later, PARTING_MS))]);
		}
		pairing.pairing = null;
		this.#leave();
		this.problem = null;
	}

	/** The entry of a model that is open or chosen there. */
	entryOf(id: string): NamedModel | undefined {
		return this.models?.entries.find((entry) => entry.id === id);
	}

	/** A file of this computer that the helper has in its folders too, by name and size: nobody sends gigabytes to themselves. */
	twinOf(file: { name: string; size: number }): NamedModel | undefined {
		const stem = file.name.replace(/\.safetensors$/i, '').toLowerCase();
		return this.models?.entries.find(
			({ name, bytes, kind, problem }) =>
				kind === 'checkpoint' && problem === null && bytes === file.size && name.slice(name.lastIndexOf('/') + 1).toLowerCase() === stem
		);
	}

	#translate(source: ModelSource, place: Place): ModelSource | null {
		if (place === 'here') return source.kind === 'named' ? null : source;
		if (source.kind !== 'file') return source;
		const twin = this.twinOf({ name: source.name, size: source.blob.size });
		// A VAE of its own is small enough to be sent along.
		if (twin) return { kind: 'named', id: twin.id, vae: source.vae, prediction: source.prediction };
		return source.blob.size <= MOST_SENT ? source : null;
	}
}

/** How long the helper has for its answer when it is forgotten. */
const PARTING_MS = 2000;

/** A model of this size is sent to the helper; a larger one has to lie in one of its folders. */
const MOST_SENT = 2 ** 29;

export const helper = new HelperConnection();
