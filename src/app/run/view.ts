/**
 * What the screen shows of a run, as a pure function of its events. Events arrive many a second; a frame's worth is applied at once.
 */
import type { Recipe } from '../../recipe/recipe';
import type { PassName, Picture, Problem, RunEvent, TrainState } from '../../service/protocol';

export const PASSES = ['copier', 'difference'] as const satisfies readonly PassName[];

export type Verdict = 'notYet' | 'converged' | 'collapsing';

export interface PassView {
	step: number;
	steps: number;
	/** One loss per step seen, with its step. */
	lossSteps: number[];
	losses: number[];
	probes: { step: number; base: number; now: number }[];
	verdict: Verdict;
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
	passes: Record<PassName, PassView>;
	previews: PreviewView[];
	/** `seed/strength` → picture. */
	strip: Map<string, Picture>;
	files: FileView[];
	warnings: Problem[];
	outcome: 'done' | 'stopped' | 'failed' | null;
	problem: Problem | null;
}

export function stripKey(seed: number, strength: number): string {
	return `${seed}/${strength}`;
}

export function startView(id: string, recipe: Recipe, started: number): RunView {
	const pass = (steps: number): PassView => ({ step: 0, steps, lossSteps: [], losses: [], probes: [], verdict: 'notYet', memory: null, stepsPerSecond: 0 });
	return {
		id,
		recipe,
		started,
		ended: null,
		state: 'preparing',
		pass: 'copier',
		detail: '',
		fraction: null,
		etaSeconds: null,
		passes: { copier: pass(recipe.passes.copier.iterations), difference: pass(recipe.passes.difference.iterations) },
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
	const own = (pass: PassView): PassView => ({ ...pass, lossSteps: [...pass.lossSteps], losses: [...pass.losses], probes: [...pass.probes] });
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
			return;
		}
		case 'probe': {
			const pass = view.passes[event.pass];
			pass.probes.push({ step: event.step, base: event.base, now: event.now });
			pass.verdict = event.verdict;
			return;
		}
		case 'memory':
			view.passes[event.pass].memory = { planned: event.planned, allocated: event.allocated };
			return;
		case 'preview':
			view.previews.push({ pass: event.pass, step: event.step, seed: event.seed, strength: event.strength, picture: event.picture });
			return;
		case 'stripCell':
			view.strip.set(stripKey(event.seed, event.strength), event.picture);
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
		case 'plotCell':
		case 'plotProgress':
			return; // of plots, which are no runs
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

/** Share of all training steps of both passes, 0…1. */
export function trainedShare(view: RunView): number {
	const { copier, difference } = view.passes;
	return (copier.step + difference.step) / (copier.steps + difference.steps);
}

/** Both passes on one axis: the difference's steps follow the copier's. */
export function timeline(view: RunView): { steps: number[]; copier: (number | null)[]; difference: (number | null)[] } {
	const { copier, difference } = view.passes;
	const offset = copier.steps;
	return {
		steps: [...copier.lossSteps, ...difference.lossSteps.map((step) => step + offset)],
		copier: [...copier.losses, ...difference.losses.map(() => null)],
		difference: [...copier.losses.map(() => null), ...difference.losses]
	};
}
