/**
 * What only a helper can be asked, in addition to everything a worker can: runs that outlive their connection, models by name, snapshots that change places.
 * Models, files and runs have ids; nothing here is ever used as a path on the helper's side.
 */
import type { Problem } from '../jobs/events';
import type { ModelFamily, Recipe } from '../recipe/recipe';

/** A run as the helper remembers it; the newest first in `listRuns`. */
export interface RunSummary {
	run: string;
	kind: 'train' | 'other';
	/** The recipe's name; for other work the name of its request ('plot', 'merge' …). */
	name: string;
	state: 'running' | 'done' | 'stopped' | 'failed';
	/** Milliseconds since the epoch. */
	started: number;
	ended: number | null;
	/** Of the last event; -1 before the first. */
	lastSeq: number;
	/** The name its snapshots are kept under (`Keep.job`), if any. */
	job: string | null;
	/** Files it made, in order. `seq`: the event that brought each. */
	files: { seq: number; name: string; role: 'copier' | 'intermediate' | 'result'; step: number; bytes: number }[];
	problem: Problem | null;
}

export interface RunDetail extends RunSummary {
	/** Of a training. */
	recipe: Recipe | null;
}

export interface ResultFile {
	name: string;
	role: 'copier' | 'intermediate' | 'result';
	step: number;
	bytes: ArrayBuffer;
}

/** A file in one of the folders the helper's owner configured. */
export interface NamedModel {
	/** Stable while the file keeps its place; says nothing about where that is. */
	id: string;
	kind: 'checkpoint' | 'lora';
	/** Inside of its folder, with `/`, without the ending: what people know it by. */
	name: string;
	/** The name of the configured folder, without its path. */
	folder: string;
	bytes: number;
	/** Milliseconds since the epoch. */
	modified: number;
	family: ModelFamily | 'unknown';
	title: string;
	/** Largest rank of a LoRA; 0 for a checkpoint. */
	rank: number;
	problem: Problem | null;
}

export interface NamedModels {
	entries: NamedModel[];
	/** Folders that cannot be read, links that lead out of them. */
	problems: Problem[];
}

/** Where models by name come from and results go to; the helper has one, a browser has none. */
export interface ModelShelf {
	list(): Promise<NamedModels>;
	/** @throws ServiceError when the id is not (any more) one of `list` */
	open(id: string): Promise<{ entry: NamedModel; blob: Blob }>;
	/** Under this name or a numbered one; null: the owner chose no folder for results. */
	save(name: string, bytes: Uint8Array): Promise<string | null>;
}

/** A page that may use the helper. */
export interface PairedPage {
	/** As `utsushi pair --list` shows it. */
	id: string;
	origin: string;
	/** Milliseconds since the epoch. */
	since: number;
	/** The one that asks. */
	own: boolean;
}

/** The snapshot of a job on the way to another trainer: the sealed bodies as the store keeps them. */
export interface CarriedSnapshot {
	state: ArrayBuffer;
	/** The finished copier, when pass 1 is over. */
	copier: ArrayBuffer | null;
}

export type HelperRequest =
	| { type: 'listRuns' }
	/** All events behind `after` (-1: from the first) come as if the run had just made them, then those it goes on making. null: no more of this run. */
	| { type: 'follow'; run: string; after: number | null }
	/** The files a training ended with (copier and result), or the newest of one that was cut off; the other intermediate ones are events. */
	| { type: 'fetchResult'; run: string }
	/** Removes what the helper remembers of a run that has ended; files in the results folder stay. */
	| { type: 'forgetRun'; run: string }
	| { type: 'listModels' }
	/** The bytes of a LoRA on the shelf, e.g. to plot or merge it. */
	| { type: 'fetchLora'; id: string }
	/** Snapshots of `Keep.job`; worker and helper both answer, so that a run can change places. null: there is none. */
	| { type: 'takeSnapshot'; job: string }
	| { type: 'giveSnapshot'; job: string; snapshot: CarriedSnapshot }
	| { type: 'dropSnapshot'; job: string }
	/** Pages that are paired: the helper's own page sees all, another one those of its origin. */
	| { type: 'listPairings' }
	/** Takes a pairing back, for good; connections with it end. null: the page's own. */
	| { type: 'unpair'; id: string | null };

export interface HelperReplyOf {
	listRuns: RunSummary[];
	follow: RunDetail;
	fetchResult: { files: ResultFile[] };
	forgetRun: null;
	listModels: NamedModels;
	fetchLora: { name: string; bytes: ArrayBuffer };
	takeSnapshot: CarriedSnapshot | null;
	giveSnapshot: null;
	dropSnapshot: null;
	listPairings: PairedPage[];
	/** `found`: there was one that the page may take back. */
	unpair: { found: boolean };
}
