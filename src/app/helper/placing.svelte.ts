/**
 * Keeps the trainer's place as it was wished: here, on the helper, or wherever a run fits and is faster. Facts come from the two trainers, from their plans of the run and from
 * the step times that were measured in each place; `choose.ts` decides. Loaded with the connection.
 */
import type { Recipe } from '../../recipe/recipe';
import type { ModelSource, TrainRequest } from '../../service/protocol';
import { gpuSupport } from '../gpu-support';
import { rememberedSpeed } from '../train/speed';
import { trainer, type Place } from '../train/trainer.svelte';
import { choosePlace, type PlaceChoice, type PlaceFacts } from './choose';
import { helper } from './connection.svelte';
import { pairing } from './pairing.svelte';

/** Problems of a plan that say: not on this GPU. */
const NO_ROOM = /^(gpu|memory|estimate)\./;

type Fits = Record<Place, boolean | null>;

class Placing {
	#started = false;
	#fits = $state.raw<Fits>({ here: null, helper: null });
	#family = $state<Recipe['model']['family']>('mini');
	readonly #choice = $derived(this.#decide(trainer.wanted, this.#family, this.#fits));

	/** Where runs of the chosen model go now, and why; without a reason when it was wished. */
	get choice(): PlaceChoice {
		return this.#choice;
	}

	/** Follows the wish from now on. */
	start(): void {
		if (this.#started) return;
		this.#started = true;
		$effect.root(() => {
			$effect(() => {
				const { place } = pairing.wish === 'automatic' ? this.#choice : { place: pairing.wish };
				void this.#move(place, trainer.wanted);
			});
		});
	}

	async #move(place: Place, wanted: ModelSource): Promise<void> {
		trainer.place = place;
		const source = trainer.translate(wanted, place);
		const at = trainer.at[place];
		const same = source === null || source === at.source || (source.kind !== 'file' && at.source.kind === source.kind && at.source.id === source.id);
		if (!same) await at.choose(source);
	}

	#facts(place: Place, source: ModelSource, family: Recipe['model']['family'], fits: boolean | null): PlaceFacts {
		const at = trainer.at[place];
		const ready = place === 'here' ? gpuSupport() === 'there' && at.status !== 'failed' : helper.state === 'open' || helper.state === 'lost';
		const hasModel = trainer.translate(source, place) !== null;
		return { ready, hasModel, fits, secondsPerImage: rememberedSpeed(family, place), software: at.adapter?.isFallback ?? false };
	}

	#decide(source: ModelSource, family: Recipe['model']['family'], fits: Fits): PlaceChoice {
		return choosePlace({ here: this.#facts('here', source, family, fits.here), helper: this.#facts('helper', source, family, fits.helper) });
	}

	/** The family of the run that is being prepared: measured times are of one family. */
	about(family: Recipe['model']['family']): void {
		if (family === this.#family) return;
		this.#family = family;
		this.#fits = { here: null, helper: null };
	}

	/** Asks both places for their plan of this run; then the choice knows what fits. */
	async settle(request: Omit<TrainRequest, 'modelId'>): Promise<PlaceChoice> {
		this.about(request.recipe.model.family);
		const source = trainer.wanted;
		const fits: Fits = { here: null, helper: null };
		for (const place of ['here', 'helper'] as const) {
			const { ready, hasModel } = this.#facts(place, source, this.#family, null);
			if (ready && hasModel) fits[place] = await this.#fitsAt(place, source, request);
		}
		this.#fits = fits;
		const choice = this.#decide(source, this.#family, fits);
		await this.#move(choice.place, source);
		return choice;
	}

	async #fitsAt(place: Place, wanted: ModelSource, request: Omit<TrainRequest, 'modelId'>): Promise<boolean | null> {
		const at = trainer.at[place];
		// Another run may be using the model that is open there.
		const model = at.model ?? (await this.#open(place, wanted));
		if (!model) return at.status === 'failed' ? false : null;
		try {
			const { problems } = await at.request({ type: 'estimate', request: { ...request, modelId: model.modelId } });
			return !problems.some(({ level, code }) => level === 'error' && NO_ROOM.test(code));
		} catch {
			return null;
		}
	}

	async #open(place: Place, wanted: ModelSource): Promise<{ modelId: string } | null> {
		const at = trainer.at[place];
		const source = trainer.translate(wanted, place);
		if (source && source !== at.source && !(source.kind !== 'file' && at.source.kind === source.kind && at.source.id === source.id)) await at.choose(source);
		return at.openModel();
	}

	/** For a job of the queue. */
	placeFor(source: ModelSource, recipe: Recipe): Place {
		return this.#decide(source, recipe.model.family, { here: null, helper: null }).place;
	}
}

export const placing = new Placing();
