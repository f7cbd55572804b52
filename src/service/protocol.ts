/**
 * What a trainer can be asked and what it reports: one set of discriminated unions for the worker and (later) the WebSocket.
 * A request gets exactly one reply with the same `id`; events carry the run they belong to and a sequence number without gaps.
 * Everything here survives structured clone; nothing here is a path on the trainer's side.
 */
import type { Recipe, SamplerKind, ModelFamily } from '../recipe/recipe';

export const PROTOCOL_VERSION = 1;

export type RunId = string;
export type PassName = 'copier' | 'difference';

/** 8-bit RGBA, row-major. */
export interface Picture {
	width: number;
	height: number;
	data: Uint8ClampedArray;
}

export interface AdapterSummary {
	vendor: string;
	architecture: string;
	description: string;
	isFallback: boolean;
	features: string[];
	maxBufferSize: number;
	maxBindingSize: number;
}

/** A model file: the bundled one by id, or one the user chose. */
export type ModelSource = { kind: 'bundled'; id: 'mini'; url: string } | { kind: 'file'; name: string; blob: Blob };

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

/** Bytes of GPU memory. */
export interface MemoryEstimate {
	weights: number;
	activations: number;
	factors: number;
	optimizer: number;
	staging: number;
	total: number;
}

export interface Problem {
	level: 'error' | 'warning';
	/** Stable id, also the key of the translated text. */
	code: string;
	/** Which field or file; e.g. `passes.copier.learningRate`, `images.target`. */
	where: string;
	/** Values for the message. */
	values: Record<string, string | number>;
	/** English text: what is wrong, where, what to do. */
	message: string;
}

export interface Estimate {
	problems: Problem[];
	memory: { copier: MemoryEstimate; difference: MemoryEstimate };
	dispatches: number;
	fileBytes: number;
}

export interface TrainRequest {
	recipe: Recipe;
	modelId: string;
	original: Picture;
	target: Picture;
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
	| { type: 'openModel'; source: ModelSource }
	| { type: 'closeModel'; modelId: string }
	| { type: 'estimate'; request: TrainRequest }
	/** Replies as soon as the run is accepted; everything else comes as events. */
	| { type: 'train'; run: RunId; request: TrainRequest }
	| { type: 'stop'; run: RunId; save: boolean }
	| { type: 'sample'; run: RunId; request: SampleRequest }
	| { type: 'cancel'; run: RunId }
	| { type: 'inspect'; name: string; blob: Blob };

export interface ReplyOf {
	hello: { version: number; adapter: AdapterSummary | null; problem: Problem | null };
	openModel: ModelInfo;
	closeModel: null;
	estimate: Estimate;
	train: null;
	stop: null;
	sample: Picture;
	cancel: null;
	inspect: FileReport;
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

/** Seconds and steps of the run so far. `etaSeconds` counts both passes. */
export interface ProgressEvent {
	type: 'progress';
	pass: PassName;
	step: number;
	steps: number;
	/** Mean training loss of this step (before loss scaling), and its 0.9 moving average. */
	loss: number;
	lossAverage: number;
	learningRate: number;
	stepsPerSecond: number;
	etaSeconds: number;
}

export type TrainState =
	| 'preparing'
	| 'encoding'
	| 'compiling'
	| 'training'
	| 'sampling'
	| 'saving'
	| 'done'
	| 'stopped'
	| 'failed';

export type RunEvent =
	| { type: 'state'; state: TrainState; pass?: PassName; detail?: string; fraction?: number }
	| ProgressEvent
	/** Loss at fixed noise and timesteps: without the network (base) and now. */
	| { type: 'probe'; pass: PassName; step: number; base: number; now: number; verdict: 'notYet' | 'converged' | 'collapsing' }
	| { type: 'memory'; pass: PassName; planned: number; allocated: number }
	| { type: 'preview'; pass: PassName; step: number; seed: number; strength: number; picture: Picture }
	| { type: 'stripCell'; seed: number; strength: number; picture: Picture }
	/** A finished or intermediate LoRA. */
	| { type: 'file'; role: 'copier' | 'intermediate' | 'result'; name: string; step: number; bytes: ArrayBuffer }
	| { type: 'warning'; problem: Problem }
	| { type: 'sampleStep'; step: number; steps: number }
	| { type: 'ended'; outcome: 'done' | 'stopped' | 'failed'; problem?: Problem };

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
