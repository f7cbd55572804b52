/**
 * What a trainer can be asked and what it reports: one set of discriminated unions for the worker and the helper's WebSocket.
 * A request gets exactly one reply with the same `id`; events carry the run they belong to and a sequence number without gaps.
 * Everything here survives structured clone; nothing here is a path on the trainer's side.
 */
import type { Keep } from './keeping';
import type { MemoryEstimate, PassName, Picture, PictureMemory, Problem, RunEvent } from '../jobs/events';
import type { RunInput } from '../jobs/inputs';
import type { PlotOutcome } from '../jobs/plot';
import type { SamplerKind, ModelFamily } from '../recipe/recipe';
import type { RateAdvice } from '../training/finder';
import type { HelperReplyOf, HelperRequest } from './helper-protocol';
import type { ComparedLoras, LoraBytes, MergeOutcome, MergeRequest } from './lab';
import type { PlotRequest } from './plot';
import type { TuningReport } from './tuning';

export type { Keep } from './keeping';
export type { MemoryEstimate, PassName, Picture, PictureMemory, Problem, RunEvent, TrainState } from '../jobs/events';

export type { RateAdvice, RatePoint } from '../training/finder';

export const PROTOCOL_VERSION = 1;

export type RunId = string;

export interface AdapterSummary {
	vendor: string;
	architecture: string;
	description: string;
	isFallback: boolean;
	features: string[];
	maxBufferSize: number;
	maxBindingSize: number;
}

/** What the user says of a model that its file does not: another VAE, and that it predicts velocity. */
export interface ModelExtras {
	vae?: { name: string; blob: Blob } | undefined;
	prediction?: 'v' | undefined;
}

/** A model file: the bundled one by id, one the user chose, or one from the helper's folders (`NamedModel.id`). */
export type ModelSource =
	{ kind: 'bundled'; id: 'mini'; url: string } | ({ kind: 'file'; name: string; blob: Blob } & ModelExtras) | ({ kind: 'named'; id: string } & ModelExtras);

export interface ModelInfo {
	modelId: string;
	name: string;
	family: ModelFamily;
	predictionType: 'epsilon' | 'v';
	resolution: number;
	unetParameters: number;
	fileBytes: number;
	/** Modules a LoRA gets: linear only / with convolutions. */
	modules: { linear: number; conv: number };
	blocks: string[];
}

export interface Estimate {
	problems: Problem[];
	memory: { copier: MemoryEstimate; difference: MemoryEstimate };
	/** Absent: nothing was planned. */
	pictures?: PictureMemory;
	dispatches: number;
	fileBytes: number;
}

/** The inputs that the recipe's mode needs (`jobs/inputs.ts` says which); the others are left out. */
export interface TrainRequest extends RunInput {
	modelId: string;
}

export interface SampleRequest {
	modelId: string;
	prompt: string;
	negative: string;
	seed: number;
	steps: number;
	cfg: number;
	sampler: SamplerKind;
	width: number;
	height: number;
	loras: { bytes: ArrayBuffer; strength: number }[];
}

export type Request =
	| { type: 'hello'; version: number }
	/** With a run id, the loading reports itself as `state` events ('preparing', detail 'download' or 'open', fraction). */
	| { type: 'openModel'; source: ModelSource; run?: RunId }
	| { type: 'closeModel'; modelId: string }
	| { type: 'estimate'; request: TrainRequest }
	/** Replies as soon as the run is accepted; everything else comes as events. */
	| { type: 'train'; run: RunId; request: TrainRequest; keep?: Keep }
	/** `pause`: ends the run with a snapshot, so that it can go on later; it then ends as stopped. */
	| { type: 'stop'; run: RunId; save: boolean; pause?: boolean }
	/** Takes a snapshot after the current step. */
	| { type: 'snapshot'; run: RunId }
	| { type: 'sample'; run: RunId; request: SampleRequest }
	/** The learning-rate finder for one pass of the recipe: a short ramp whose points come as `ratePoints` events. null: cancelled before it could say anything. */
	| { type: 'findRate'; run: RunId; request: TrainRequest; pass: PassName }
	/** Cells of a plot; replies when all are drawn, or with those that were when it was cancelled. */
	| { type: 'plot'; run: RunId; request: PlotRequest }
	/** Needs no open model. Progress comes as `state` events ('preparing', detail 'merge', fraction). */
	| { type: 'merge'; run: RunId; request: MergeRequest }
	| { type: 'compareLoras'; files: { name: string; bytes: LoraBytes }[] }
	| { type: 'cancel'; run: RunId }
	| { type: 'inspect'; name: string; blob: Blob }
	/** Which tiles were measured best on this GPU; `measure`: now, which takes about ten seconds. */
	| { type: 'tuning'; measure: boolean }
	| HelperRequest;

/** The run that goes on under its own id with this request, and whose events it brings. */
export function begunBy(request: Request): RunId | undefined {
	switch (request.type) {
		case 'train':
		case 'sample':
		case 'findRate':
		case 'plot':
		case 'merge':
		case 'openModel':
			return request.run;
		default:
			return undefined;
	}
}

export interface ReplyOf extends HelperReplyOf {
	hello: { version: number; adapter: AdapterSummary | null; problem: Problem | null };
	openModel: ModelInfo;
	closeModel: null;
	estimate: Estimate;
	train: null;
	stop: null;
	snapshot: null;
	sample: Picture;
	findRate: RateAdvice | null;
	plot: PlotOutcome;
	merge: MergeOutcome;
	compareLoras: ComparedLoras;
	cancel: null;
	inspect: FileReport;
	tuning: TuningReport;
}

export interface FileReport {
	kind: 'checkpoint' | 'lora' | 'other';
	name: string;
	bytes: number;
	tensors: number;
	dtypes: Record<string, number>;
	family: ModelFamily | 'unknown';
	metadata: Record<string, string>;
	lora: { modules: number; ranks: Record<string, number>; alphas: Record<string, number>; blocks: Record<string, number> } | null;
	problems: Problem[];
}

export interface EventMessage {
	run: RunId;
	seq: number;
	/** Milliseconds since the epoch. */
	time: number;
	event: RunEvent;
}

/** What the app talks to; it cannot tell a worker from a helper. Errors arrive as `ServiceError`. */
export interface TrainerClient {
	request<R extends Request>(request: R): Promise<ReplyOf[R['type']]>;
	subscribe(listener: (message: EventMessage) => void): () => void;
	close(): void;
}
