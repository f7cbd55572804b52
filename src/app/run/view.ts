/**
 * What the screen shows of a run, as a pure function of its events. Events arrive many a second; a frame's worth is applied at once.
 */
import type { Recipe } from '../../recipe/recipe';
import type { PassName, Picture, Problem, RunEvent, TrainState } from '../../service/protocol';

export type Verdict = Extract<RunEvent, { type: 'probe' }>['verdict'];

/** What the guard did, or that the pass ended early. */
export type GuardView = Extract<RunEvent, { type: 'guard' }>;

export interface ProbeView {
	step: number;
	base: number;
	now: number;
}

export interface PassView {
	step: number;
	steps: number;
	/** One loss per step seen, with its step. */
	lossSteps: number[];
	losses: number[];
	/** The learning rate of each of these steps; null where it is not known (before the run was taken up again). */
	rates: (number | null)[];
	probes: ProbeView[];
	/** By stretch of timesteps, as at the last probe. */
	bands: { min: number; max: number; base: number; now: number }[];
	verdict: Verdict;
	guards: GuardView[];
	/** Step at which it was found converged and ended. */
	endedEarly: number | null;
	memory: { planned: number; allocated: number } | null;
	stepsPerSecond: number;
}

export interface PreviewView {
	pass: PassName;
	step: number;
	seed: number;
	strength: number;
	picture: Picture;
}

export interface FileView {
	role: 'copier' | 'intermediate' | 'result';
	name: string;
	step: number;
	bytes: ArrayBuffer;
}

export interface RunView {
	id: string;
	recipe: Recipe;
	started: number;
	ended: number | null;
	state: TrainState;
	pass: PassName;
	detail: string;
	fraction: number | null;
	etaSeconds: number | null;
	/** Since when pictures have been drawn without a step between. */
	samplingSince: number | null;
	passes: Record<PassName, PassView>;
	previews: PreviewView[];
	/** `seed/strength` → picture. */
	strip: Map<string, Picture>;
	files: FileView[];
	warnings: Problem[];
	outcome: 'done' | 'stopped' | 'failed' | null;
	problem: Problem | null;
}

/** The passes of a run, in order: with a copier from a file or in a mode without one there is only the pass that makes the result. */
export function passesOf({ mode, copier }: Pick<Recipe, 'mode' | 'copier'>): PassName[] {
	if (mode !== 'difference' || copier.use === 'file') return ['difference'];
	return copier.only ? ['copier'] : ['copier', 'difference'];
}

export function stripKey(seed: number, strength: number): string {
	return `${seed}/${strength}`;
}

export function startView(id: string, recipe: Recipe, started: number): RunView {
	const passes = passesOf(recipe);
	const pass = (name: PassName): PassView => ({
		step: 0,
		steps: passes.includes(name) ? recipe.passes[name].iterations : 0,
		lossSteps: [],
		losses: [],
		rates: [],
		probes: [],
		bands: [],
		verdict: 'notYet',
		guards: [],
		endedEarly: null,
		memory: null,
		stepsPerSecond: 0
	});
	return {
		id,
		recipe,
		started,
		ended: null,
		state: 'preparing',
		pass: passes[0] ?? 'difference',
		detail: '',
		fraction: null,
		etaSeconds: null,
		samplingSince: null,
		passes: { copier: pass('copier'), difference: pass('difference') },
		previews: [],
		strip: new Map(),
		files: [],
		warnings: [],
		outcome: null,
		problem: null
	};
}

/** The view after `events`, which all belong to its run, in order. `view` stays as it was. */
export function advance(view: RunView, events: readonly { time: number; event: RunEvent }[]): RunView {
	const own = (pass: PassView): PassView => ({
		...pass,
		lossSteps: [...pass.lossSteps],
		losses: [...pass.losses],
		rates: [...pass.rates],
		probes: [...pass.probes],
		guards: [...pass.guards]
	});
	const next: RunView = {
		...view,
		passes: { copier: own(view.passes.copier), difference: own(view.passes.difference) },
		previews: [...view.previews],
		strip: new Map(view.strip),
		files: [...view.files],
		warnings: [...view.warnings]
	};
	for (const { time, event } of events) apply(next, event, time);
	return next;
}

function apply(view: RunView, event: RunEvent, time: number): void {
	switch (event.type) {
		case 'state':
			view.state = event.state;
			view.pass = event.pass ?? view.pass;
			view.detail = event.detail ?? '';
			view.fraction = event.fraction ?? null;
			if (event.state === 'sampling') view.samplingSince ??= time;
			else view.samplingSince = null;
			return;
		case 'progress': {
			const pass = view.passes[event.pass];
			view.pass = event.pass;
			view.etaSeconds = event.etaSeconds;
			pass.step = event.step;
			pass.steps = event.steps;
			pass.stepsPerSecond = event.stepsPerSecond;
			pass.lossSteps.push(event.step);
			pass.losses.push(event.loss);
			pass.rates.push(event.learningRate);
			return;
		}
		case 'probe': {
			const pass = view.passes[event.pass];
			pass.probes.push({ step: event.step, base: event.base, now: event.now });
			pass.bands = event.bands;
			pass.verdict = event.verdict;
			return;
		}
		case 'guard':
			rewind(view, event);
			return;
		case 'endedEarly':
			view.passes[event.pass].endedEarly = event.step;
			return;
		case 'memory':
			view.passes[event.pass].memory = { planned: event.planned, allocated: event.allocated };
			return;
		case 'preview':
			view.previews.push({ pass: event.pass, step: event.step, seed: event.seed, strength: event.strength, picture: event.picture });
			return;
		case 'stripCell':
			view.strip.set(stripKey(event.seed, event.strength), event.picture);
			view.etaSeconds = stripSecondsLeft(view, time);
			return;
		case 'file':
			view.files.push({ role: event.role, name: event.name, step: event.step, bytes: event.bytes });
			return;
		case 'warning':
			view.warnings.push(event.problem);
			return;
		case 'sampleStep':
			view.fraction = event.step / event.steps;
			return;
		case 'resumed':
			for (const name of ['copier', 'difference'] as const) {
				const curve = event.curves[name];
				if (curve) takeUp(view.passes[name], curve);
			}
			return;
		case 'snapshot':
			return; // the queue shows it
		case 'ratePoints':
		case 'plotCell':
		case 'plotProgress':
			return; // of plots and the finder, which are no runs
		case 'ended':
			view.outcome = event.outcome;
			view.state = event.outcome;
			view.problem = event.problem ?? null;
			view.ended = time;
			view.etaSeconds = null;
			return;
		default:
			event satisfies never;
	}
}

export function stripCells({ recipe }: Pick<RunView, 'recipe'>): number {
	return recipe.preview.seeds.length * recipe.preview.strengths.length;
}

/** At the pace of the cells so far; null before the first. */
function stripSecondsLeft(view: RunView, time: number): number | null {
	if (view.samplingSince === null || view.strip.size === 0) return null;
	return ((time - view.samplingSince) / 1000 / view.strip.size) * Math.max(0, stripCells(view) - view.strip.size);
}

/** Back to the step the guard chose: what came after it is no longer part of the run. */
function rewind(view: RunView, event: GuardView): void {
	const pass = view.passes[event.pass];
	pass.guards.push(event);
	pass.step = event.to;
	const kept = pass.lossSteps.findLastIndex((step) => step <= event.to) + 1;
	for (const list of [pass.lossSteps, pass.losses, pass.rates]) list.length = kept;
	pass.probes = pass.probes.filter(({ step }) => step <= event.to);
	view.previews = view.previews.filter((preview) => preview.pass !== event.pass || preview.step <= event.to);
}

/** The curve of what was trained before the run was interrupted. */
function takeUp(pass: PassView, { losses, probes }: { losses: Float64Array; probes: ProbeView[] }): void {
	pass.step = losses.length;
	pass.losses = [...losses];
	pass.lossSteps = pass.losses.map((_, i) => i + 1);
	pass.rates = pass.losses.map(() => null);
	pass.probes = [...probes];
}

/** Share of all training steps of both passes, 0…1. A pass that ended early is whole. */
export function trainedShare(view: RunView): number {
	const passes = Object.values(view.passes);
	const done = passes.reduce((sum, { step, steps, endedEarly }) => sum + (endedEarly === null ? step : steps), 0);
	return done / passes.reduce((sum, { steps }) => sum + steps, 0);
}

/** Where a pass begins on an axis that has all of them, one after the other. */
export function offsetOf(view: RunView, name: PassName): number {
	return name === 'difference' ? view.passes.copier.steps : 0;
}

/** All passes on one axis: the difference's steps follow the copier's. */
export function timeline(view: RunView): { steps: number[]; copier: (number | null)[]; difference: (number | null)[]; rates: (number | null)[] } {
	const { copier, difference } = view.passes;
	const offset = offsetOf(view, 'difference');
	return {
		steps: [...copier.lossSteps, ...difference.lossSteps.map((step) => step + offset)],
		copier: [...copier.losses, ...difference.losses.map(() => null)],
		difference: [...copier.losses.map(() => null), ...difference.losses],
		rates: [...copier.rates, ...difference.rates]
	};
}
