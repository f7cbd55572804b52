/**
 * Runs that survive what ends them: the state of a run packed into a snapshot store, and read again to go on.
 *
 * Rules
 * - A snapshot belongs to exactly one piece of work: recipe (but for its name and what is only drawn or saved), pictures and model. One of other work is refused before
 *   anything is spent, and left alone.
 * - Going on on another device or with another version is possible and said: the result may then differ in its last bits.
 * - A snapshot that cannot be kept (disk full) is said once; the run goes on without, and the last good one stays.
 */
import { bytesSource } from '../formats/source';
import { packValue, unpackValue } from '../formats/packed';
import type { Gpu } from '../gpu/gpu';
import type { Recipe } from '../recipe/recipe';
import { asStorageError } from '../storage/errors';
import type { SnapshotStore } from '../storage/snapshots/snapshots';
import type { ProbeState } from '../training/observer';
import type { RunMemory, RunState, TrainedModules } from '../training/run-state';
import type { Picture, RunEvent } from './events';
import { errorProblem, ProblemError, warningProblem } from './problem';

/** Raised when what is packed changes its meaning. */
const FORMAT = 1;
const COPIER = 'copier';

export interface SnapshotRequest {
	readonly store: SnapshotStore;
	/** The name the snapshots are kept under. */
	readonly job: string;
	/** Go on from the last one; otherwise older ones of this job are removed. */
	readonly resume: boolean;
}

interface Stored {
	format: number;
	identity: string;
	device: string;
	version: string;
	state: RunState;
}

/** What a run is made of, as a fingerprint. Names, previews and intermediate files may change between the parts of a run. */
export async function runIdentity(recipe: Recipe, pictures: readonly (Picture | undefined)[], model: Blob, vae?: Blob): Promise<string> {
	const { name, preview, saving, ...trained } = recipe;
	void [name, preview, saving];
	const pieces: Uint8Array[] = [new TextEncoder().encode(JSON.stringify(trained))];
	for (const picture of pictures) if (picture) pieces.push(await digest(new Uint8Array(picture.data.buffer, picture.data.byteOffset, picture.data.byteLength)));
	// A checkpoint of gigabytes is known by its size, its header and two samples of its numbers.
	const sample = 2 ** 16;
	for (const file of vae ? [model, vae] : [model]) {
		pieces.push(new TextEncoder().encode(` ${file.size} `));
		for (const at of [0, Math.floor(file.size / 2), Math.max(0, file.size - sample)])
			pieces.push(new Uint8Array(await file.slice(at, at + sample).arrayBuffer()));
	}
	const whole = new Uint8Array(await new Blob(pieces.map((piece) => piece.slice())).arrayBuffer());
	return Array.from(await digest(whole), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

async function digest(bytes: Uint8Array): Promise<Uint8Array> {
	return new Uint8Array(await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>));
}

export function deviceName({ adapter }: Gpu): string {
	return [adapter.vendor, adapter.architecture, adapter.description].filter((part) => part !== '').join(' ');
}

function isStored(value: unknown): value is Stored {
	if (typeof value !== 'object' || value === null || !('format' in value) || !('state' in value)) return false;
	return value.format === FORMAT && 'identity' in value && typeof value.identity === 'string' && typeof value.state === 'object' && value.state !== null;
}

/** The copier's modules as they were saved; undefined when they are missing or damaged. */
async function loadCopier({ store, job }: SnapshotRequest): Promise<TrainedModules | undefined> {
	const body = await store.loadKept(job, COPIER);
	if (!body) return undefined;
	const value = await unpackValue(bytesSource(body));
	return Array.isArray(value) ? (value as TrainedModules) : undefined;
}

async function loadState(request: SnapshotRequest): Promise<Stored | undefined> {
	const body = await request.store.load(request.job);
	const value = body && (await unpackValue(bytesSource(body)));
	return isStored(value) ? value : undefined;
}

interface MemoryOptions {
	readonly identity: string;
	readonly device: string;
	readonly version: string;
	readonly recipe: Recipe;
	readonly emit: (event: RunEvent) => void;
}

/** @throws ProblemError `resume.otherRun` when the snapshot belongs to other work */
export async function openRunMemory(request: SnapshotRequest, { identity, device, version, recipe, emit }: MemoryOptions): Promise<RunMemory> {
	const { store, job, resume } = request;
	const warn = (code: string, message: string, values: Record<string, string | number> = {}): void =>
		emit({ type: 'warning', problem: warningProblem(code, 'snapshot', message, values) });
	let from: Stored | undefined;
	let copier: TrainedModules | undefined;
	if (resume) {
		from = await loadState(request);
		if (!from) warn('resume.missing', 'There is no snapshot of this run that can be read, so it starts from the beginning.');
		else if (from.identity !== identity) {
			const message =
				'The snapshot belongs to a run with another recipe, other pictures or another model, so it cannot go on with these. Use the same ones, or start anew.';
			throw new ProblemError(errorProblem('resume.otherRun', 'snapshot', message));
		}
		if (from?.state.copier) {
			copier = await loadCopier(request);
			if (!copier) {
				warn('resume.missing', 'There is no snapshot of this run that can be read, so it starts from the beginning.');
				from = undefined;
			}
		}
		if (from && (from.device !== device || from.version !== version))
			warn(
				'resume.otherDevice',
				`The first part of this run was trained on ${from.device} with version ${from.version}; going on here may change the last digits of the result.`,
				{
					device: from.device,
					version: from.version
				}
			);
	}
	if (!from) await store.remove(job).catch(() => undefined);
	if (from) emit(resumedEvent(from.state, recipe));
	let told = false;
	return {
		from: from?.state,
		every: recipe.saving.snapshotEvery,
		copier,
		async save(state) {
			const begun = performance.now();
			const stored: Stored = { format: FORMAT, identity, device, version, state };
			const body = packValue(stored);
			await store.save(job, body);
			told = false;
			const milliseconds = performance.now() - begun;
			emit({ type: 'snapshot', pass: state.pass?.pass ?? 'difference', step: state.pass?.step ?? 0, bytes: body.length, milliseconds });
			return milliseconds;
		},
		saveCopier: (modules) => store.keep(job, COPIER, packValue(modules)),
		failed(error) {
			if (told) return;
			told = true;
			const { code, values, message } = asStorageError(error, 'snapshot');
			const full = code === 'storage.quota';
			if (full)
				warn(
					'snapshot.full',
					'There is no room for a snapshot: training goes on, but could not go on from here if it were interrupted. Free some disk space.',
					values
				);
			else
				warn('snapshot.failed', `No snapshot can be kept: ${message} Training goes on, but could not go on from here if it were interrupted.`, {
					detail: message
				});
		}
	};
}

/** What was trained before, so that curves begin at the beginning. */
function resumedEvent({ copier, pass }: RunState, recipe: Recipe): Extract<RunEvent, { type: 'resumed' }> {
	const curve = (losses: Float64Array, { base, steps, values }: ProbeState) => ({
		losses,
		probes: recipe.probe.every > 0 ? [base, ...values].map((now, i) => ({ step: steps[i - 1] ?? 0, base, now })) : []
	});
	return {
		type: 'resumed',
		pass: pass?.pass ?? 'difference',
		step: pass?.step ?? 0,
		curves: {
			...(copier ? { copier: curve(copier.losses, copier.probe) } : {}),
			...(pass ? { [pass.pass]: curve(pass.losses, pass.probe) } : {})
		}
	};
}
