/**
 * How a run shows itself: one line that rewrites itself on a terminal, plain lines in a pipe, JSON lines with --json. Problems and
 * progress go to stderr unless they are the result (JSON), so that stdout stays usable.
 */
import type { Recipe } from '../recipe/recipe';
import type { EventMessage, PassName, Problem, RunEvent } from '../service/protocol';

export interface Streams {
	out(text: string): void;
	err(text: string): void;
	/** Whether stderr is a terminal. */
	terminal: boolean;
	/** Columns of the terminal. */
	columns(): number;
}

export function problemLine(problem: Problem): string {
	return `${problem.level === 'error' ? 'Error' : 'Warning'}: ${problem.message}`;
}

function duration(seconds: number): string {
	const s = Math.max(0, Math.round(seconds));
	if (s < 60) return `${s} s`;
	if (s < 3600) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, '0')} s`;
	return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, '0')} min`;
}

type PassTitles = Readonly<Record<PassName, string>>;
const BOTH: PassTitles = { copier: 'Pass 1 (copier)', difference: 'Pass 2 (difference)' };

/** What a recipe's passes are called: where there is only one, it has no number. */
function passTitles({ mode, copier }: Pick<Recipe, 'mode' | 'copier'>): PassTitles {
	if (mode !== 'difference') return { copier: 'Copier', difference: 'Training' };
	return copier.use === 'file' || copier.only ? { copier: 'Copier', difference: 'Difference' } : BOTH;
}

const VERDICT = {
	notYet: 'not yet',
	learning: 'learning',
	converged: 'converged',
	overfitting: 'past its best',
	collapsed: 'collapsed',
	notConverging: 'not converging'
} as const;
const GUARD = {
	notFinite: (value: number) => `${value} steps without finite gradients`,
	loss: (value: number) => `the loss is ${value.toPrecision(2)} times what it should be`,
	norm: (value: number) => `the weights grew ${value.toPrecision(2)}-fold`,
	probe: (value: number) => `the loss at fixed noise is ${value.toPrecision(2)} times that without the network`
} as const;
const STATE: Partial<Record<Extract<RunEvent, { type: 'state' }>['state'], string>> = {
	preparing: 'Preparing',
	encoding: 'Encoding',
	compiling: 'Building the programs for the GPU',
	sampling: 'Drawing',
	saving: 'Saving'
};

/** One event in words; `saved` names the file a picture or LoRA went to. undefined: nothing worth a line. */
export function describe(event: RunEvent, saved?: string, titles: PassTitles = BOTH): string | undefined {
	switch (event.type) {
		case 'state': {
			// Only the begin of a stage is worth a line; its fractions are for bars.
			if (event.fraction !== undefined && event.fraction > 0) return undefined;
			const text = STATE[event.state];
			// With one pass there is nothing to tell apart.
			return text === undefined ? undefined : `${text}${event.pass && titles === BOTH ? `, ${titles[event.pass].toLowerCase()}` : ''}…`;
		}
		case 'progress':
			return `${titles[event.pass]}: step ${event.step}/${event.steps} · loss ${event.lossAverage.toPrecision(3)} · ${event.stepsPerSecond.toFixed(2)} it/s · ${duration(event.etaSeconds)} left`;
		case 'probe':
			return `Probe at step ${event.step}: ${event.now.toPrecision(3)} (without the network ${event.base.toPrecision(3)}) · ${VERDICT[event.verdict]}`;
		case 'guard': {
			const what = `Guard at step ${event.step}: ${GUARD[event.reason](event.value)}`;
			return event.action === 'rollback'
				? `${what}. Back to step ${event.to}, on with ${event.factor} times the learning rate`
				: `${what}. Stopped; the network of step ${event.to} was kept`;
		}
		case 'endedEarly':
			return `${titles[event.pass]}: converged, ended at step ${event.step}/${event.steps}`;
		case 'memory':
			return `${titles[event.pass]}: ${Math.round(event.allocated / 2 ** 20)} MB of GPU memory`;
		case 'file':
			return `Wrote ${saved ?? event.name}`;
		case 'preview':
			return saved === undefined ? undefined : `Preview at step ${event.step}: ${saved}`;
		case 'stripCell':
			return saved === undefined ? undefined : `Strength ${event.strength}, seed ${event.seed}: ${saved}`;
		case 'warning':
			return problemLine(event.problem);
		case 'ratePoints':
		case 'snapshot':
			return undefined;
		case 'resumed':
			return `${titles[event.pass]}: going on after step ${event.step}`;
		case 'plotCell':
			return saved === undefined ? undefined : `Cell ${event.index + 1}: ${saved}`;
		case 'plotProgress':
			return `Plot: ${event.done}/${event.total} cells${event.secondsLeft === null ? '' : ` · ${duration(event.secondsLeft)} left`}`;
		case 'sampleStep':
			return `Sampling: step ${event.step}/${event.steps}`;
		case 'ended':
			if (event.problem) return problemLine(event.problem);
			return event.outcome === 'stopped' ? 'Stopped.' : undefined;
	}
}

export interface Reporter {
	event(message: EventMessage, saved?: string): void;
	problem(problem: Problem): void;
	/** The passes of what comes now are called as this recipe has them. */
	passes(recipe: Pick<Recipe, 'mode' | 'copier'>): void;
	/** A line of its own, for people. */
	note(text: string): void;
	/** Ends a line that is being rewritten. */
	close(): void;
}

const BAR = 20;
/** Narrower terminals need their room for the numbers. */
const BAR_COLUMNS = 90;

function barOf(event: Extract<RunEvent, { type: 'progress' | 'sampleStep' | 'plotProgress' }>, columns: number): string {
	if (columns < BAR_COLUMNS) return '';
	const share = event.type === 'plotProgress' ? event.fraction : event.step / event.steps;
	const full = Math.max(0, Math.min(BAR, Math.round(share * BAR)));
	return `${'█'.repeat(full)}${'░'.repeat(BAR - full)} `;
}

/** Seconds between progress lines in a pipe. */
const PLAIN_INTERVAL = 5;

export function textReporter(streams: Streams, now: () => number = Date.now): Reporter {
	let live = '';
	let titles = BOTH;
	let lastPlain = -Infinity;
	const clear = (): void => {
		if (live) streams.err('\r\u001b[2K');
		live = '';
	};
	const line = (text: string): void => {
		clear();
		streams.err(`${text}\n`);
	};
	return {
		event({ event }, saved) {
			const text = describe(event, saved, titles);
			if (text === undefined) return;
			if (event.type !== 'progress' && event.type !== 'sampleStep' && event.type !== 'plotProgress') return line(text);
			if (streams.terminal) {
				live = (barOf(event, streams.columns()) + text).slice(0, Math.max(20, streams.columns() - 1));
				streams.err(`\r\u001b[2K${live}`);
				return;
			}
			const last = event.type === 'plotProgress' ? event.done === event.total : event.step === event.steps;
			if (!last && now() - lastPlain < PLAIN_INTERVAL * 1000) return;
			lastPlain = now();
			line(text);
		},
		problem: (problem) => line(problemLine(problem)),
		passes: (recipe) => (titles = passTitles(recipe)),
		note: line,
		close() {
			if (live) streams.err('\n');
			live = '';
		}
	};
}

/** The event as JSON: pixels and bytes are replaced by the name of the file they went to. */
export function eventJson({ seq, time, event }: EventMessage, saved?: string): Record<string, unknown> {
	const head = { seq, time };
	switch (event.type) {
		case 'preview':
		case 'stripCell':
		case 'plotCell': {
			const { picture, ...rest } = event;
			return { ...head, ...rest, width: picture.width, height: picture.height, file: saved ?? null };
		}
		case 'file':
			return { ...head, ...event, bytes: event.bytes.byteLength, file: saved ?? null };
		default:
			return { ...head, ...event };
	}
}

export function jsonReporter(streams: Streams): Reporter {
	const line = (value: unknown): void => streams.out(`${JSON.stringify(value)}\n`);
	return {
		event: (message, saved) => line(eventJson(message, saved)),
		problem: (problem) => line({ type: 'problem', problem }),
		passes: () => undefined,
		note: (text) => line({ type: 'note', text }),
		close: () => undefined
	};
}
