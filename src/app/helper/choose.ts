/**
 * Automatic: where a run should go, and why, as a pure function of what is known of both places. What cannot run it is out; then what was measured decides, then what the
 * adapters say. When nothing speaks for either, the helper: it goes on when the tab is closed and is never slowed down in the background.
 */
import type { Place } from '../train/trainer.svelte';

export interface PlaceFacts {
	/** An adapter answered. */
	ready: boolean;
	/** It can open the model the run is for. */
	hasModel: boolean;
	/** Its plan found room for the run; null: not asked yet. */
	fits: boolean | null;
	/** Seconds per image and step as measured at the last run of this family; null: never measured. */
	secondsPerImage: number | null;
	/** A software adapter: no GPU at all. */
	software: boolean;
}

export type Reason =
	| 'hereNotReady'
	| 'helperNotReady'
	| 'hereNoModel'
	| 'helperNoModel'
	| 'hereNoRoom'
	| 'helperNoRoom'
	| 'hereSoftware'
	| 'helperSoftware'
	| 'hereFaster'
	| 'helperFaster'
	| 'helperKeepsOn';

export interface PlaceChoice {
	place: Place;
	reason: Reason;
	/** How many times faster, for the reasons that say so. */
	factor: number | null;
}

/** Less of a difference is noise of the measurement; then what keeps on is better. */
const NOTEWORTHY = 1.15;

const AGAINST = {
	here: { notReady: 'hereNotReady', noModel: 'hereNoModel', noRoom: 'hereNoRoom' },
	helper: { notReady: 'helperNotReady', noModel: 'helperNoModel', noRoom: 'helperNoRoom' }
} as const satisfies Record<Place, Record<string, Reason>>;

/** What rules a place out; undefined when nothing does. */
function against(place: Place, { ready, hasModel, fits }: PlaceFacts): Reason | undefined {
	if (!ready) return AGAINST[place].notReady;
	if (!hasModel) return AGAINST[place].noModel;
	return fits === false ? AGAINST[place].noRoom : undefined;
}

export function choosePlace(facts: Readonly<Record<Place, PlaceFacts>>): PlaceChoice {
	const { here, helper } = facts;
	const notHelper = against('helper', helper);
	if (notHelper) return { place: 'here', reason: notHelper, factor: null };
	const notHere = against('here', here);
	if (notHere) return { place: 'helper', reason: notHere, factor: null };
	if (here.secondsPerImage !== null && helper.secondsPerImage !== null) {
		const factor = here.secondsPerImage / helper.secondsPerImage;
		if (factor >= NOTEWORTHY) return { place: 'helper', reason: 'helperFaster', factor };
		if (factor <= 1 / NOTEWORTHY) return { place: 'here', reason: 'hereFaster', factor: 1 / factor };
	}
	if (here.software !== helper.software)
		return here.software ? { place: 'helper', reason: 'hereSoftware', factor: null } : { place: 'here', reason: 'helperSoftware', factor: null };
	return { place: 'helper', reason: 'helperKeepsOn', factor: null };
}
