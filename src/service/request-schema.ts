/**
 * What a request from a socket must look like before anybody acts on it. Recipes are checked by the host (`parseRecipe`); here everything else: kinds, lengths, ids that are
 * plain words, pictures whose bytes fit their size, numbers in the ranges that the app has. Unknown members are dropped. Nothing that passes is ever used as a path.
 */
import * as v from 'valibot';
import { errorProblem } from '../jobs/problem';
import { MERGE_METHODS, MERGE_PRECISIONS, type MergeSettings } from '../recipe/merge';
import { int, num } from '../recipe/ranges';
import type { CellSettings } from '../recipe/plot-cells';
import { BLOCK_IDS, SAMPLERS } from '../recipe/recipe';
import type { FolderPicture } from '../training/dataset';
import { ServiceError } from './errors';
import type { MergeRequest } from './lab';
import type { PlotRequest } from './plot';
import type { ModelSource, Request, SampleRequest, TrainRequest } from './protocol';

const MAX_SIDE = 16_384;
const MAX_PICTURES = 2000;
const MAX_FILES = 256;
const MAX_CELLS = 10_000;

/** All members of a type, so that one that is added there is not dropped here in silence. */
type Members<T> = Record<keyof T, v.GenericSchema>;

const text = (max: number) => v.pipe(v.string(), v.maxLength(max));
/** Ids of runs and jobs are made by clients; a plain word is enough for everyone. */
const id = v.pipe(v.string(), v.regex(/^[\w-]{1,100}$/));
const modelId = v.pipe(v.string(), v.regex(/^[\w-]{1,100}$/));
const sha256 = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/));
const buffer = v.instance(ArrayBuffer);
const blob = v.instance(Blob);
const seed = int(0, 0xffffffff);

const picture = v.pipe(
	v.object({ width: int(1, MAX_SIDE), height: int(1, MAX_SIDE), data: v.instance(Uint8ClampedArray) }),
	v.check(({ width, height, data }) => data.length === width * height * 4, 'its bytes do not fit its size')
);

const train = v.object({
	modelId,
	recipe: v.record(v.string(), v.unknown()),
	original: v.optional(picture),
	target: v.optional(picture),
	mask: v.optional(picture),
	pictures: v.optional(
		v.pipe(v.array(v.object({ name: text(1000), picture, text: v.optional(text(10_000)) } satisfies Members<FolderPicture>)), v.maxLength(MAX_PICTURES))
	),
	copier: v.optional(buffer),
	start: v.optional(buffer),
	gpuMemory: v.optional(int(1, 2 ** 48))
} satisfies Members<TrainRequest>);

const side = v.pipe(int(8, 4096), v.multipleOf(8));
const drawing = { prompt: text(4000), negative: text(4000), seed, cfg: num(0, 100), sampler: v.picklist(SAMPLERS) };
/** Of a single picture; `checkSample` says in words what cannot be drawn. */
const wished = { ...drawing, steps: int(0, 1_000_000), width: int(0, MAX_SIDE), height: int(0, MAX_SIDE) };

const dimension = v.variant('kind', [
	v.object({ kind: v.literal('fixed'), rank: int(1, 1024) }),
	v.object({ kind: v.literal('auto') }),
	v.object({ kind: v.literal('energy'), keep: num(0, 1) })
]);
const blocks = v.nullable(v.record(v.picklist(BLOCK_IDS), num(-1000, 1000)));

const cell = v.object({
	...drawing,
	steps: int(1, 1000),
	width: side,
	height: side,
	networks: v.pipe(
		v.array(
			v.object({
				parts: v.pipe(v.array(v.object({ sha256, ratio: num(-1000, 1000), blocks })), v.maxLength(MAX_FILES)),
				dimension: v.nullable(dimension),
				strength: num(-1000, 1000)
			})
		),
		v.maxLength(MAX_FILES)
	)
} satisfies Members<CellSettings>);

const mergeSettings = v.object({
	name: text(200),
	method: v.picklist(MERGE_METHODS),
	dimension,
	convDimension: v.nullable(dimension),
	precision: v.picklist(MERGE_PRECISIONS),
	parts: v.pipe(v.array(v.object({ name: text(255), ratio: num(-1000, 1000), blocks })), v.maxLength(MAX_FILES)),
	clamp: v.optional(v.boolean())
} satisfies Members<MergeSettings>);

const loraBytes = v.union([buffer, blob]);
const pass = v.picklist(['copier', 'difference'] as const);

const extras = { vae: v.optional(v.object({ name: text(255), blob })), prediction: v.optional(v.literal('v')) };

const source = v.variant('kind', [
	// The address means something to a page only; the helper has its own copy.
	v.object({
		kind: v.literal('bundled'),
		id: v.literal('mini'),
		url: v.pipe(
			text(2000),
			v.transform(() => '')
		)
	}),
	v.object({ kind: v.literal('file'), name: text(255), blob, ...extras } satisfies Members<Extract<ModelSource, { kind: 'file' }>>),
	v.object({ kind: v.literal('named'), id, ...extras } satisfies Members<Extract<ModelSource, { kind: 'named' }>>)
]);

const schema = v.variant('type', [
	v.object({ type: v.literal('hello'), version: int(0, 1_000_000) }),
	v.object({ type: v.literal('openModel'), source, run: v.optional(id) }),
	v.object({ type: v.literal('closeModel'), modelId }),
	v.object({ type: v.literal('estimate'), request: train }),
	v.object({ type: v.literal('train'), run: id, request: train, keep: v.optional(v.object({ job: id, resume: v.boolean() })) }),
	v.object({ type: v.literal('stop'), run: id, save: v.boolean(), pause: v.optional(v.boolean()) }),
	v.object({ type: v.literal('snapshot'), run: id }),
	v.object({
		type: v.literal('sample'),
		run: id,
		request: v.object({
			modelId,
			...wished,
			loras: v.pipe(v.array(v.object({ bytes: buffer, strength: num(-1000, 1000) })), v.maxLength(MAX_FILES))
		} satisfies Members<SampleRequest>)
	}),
	v.object({ type: v.literal('findRate'), run: id, request: train, pass }),
	v.object({
		type: v.literal('plot'),
		run: id,
		request: v.object({
			modelId,
			cells: v.pipe(v.array(cell), v.maxLength(MAX_CELLS)),
			loras: v.pipe(v.array(v.object({ name: text(255), sha256, blob })), v.maxLength(MAX_FILES)),
			prediction: v.optional(v.literal('v'))
		} satisfies Members<PlotRequest>)
	}),
	v.object({
		type: v.literal('merge'),
		run: id,
		request: v.object({ settings: mergeSettings, files: v.pipe(v.array(loraBytes), v.maxLength(MAX_FILES)) } satisfies Members<MergeRequest>)
	}),
	v.object({ type: v.literal('compareLoras'), files: v.pipe(v.array(v.object({ name: text(255), bytes: loraBytes })), v.maxLength(MAX_FILES)) }),
	v.object({ type: v.literal('cancel'), run: id }),
	v.object({ type: v.literal('inspect'), name: text(255), blob }),
	v.object({ type: v.literal('tuning'), measure: v.boolean() }),
	v.object({ type: v.literal('listRuns') }),
	v.object({ type: v.literal('follow'), run: id, after: v.nullable(int(-1, Number.MAX_SAFE_INTEGER)) }),
	v.object({ type: v.literal('fetchResult'), run: id }),
	v.object({ type: v.literal('forgetRun'), run: id }),
	v.object({ type: v.literal('listModels') }),
	v.object({ type: v.literal('fetchLora'), id }),
	v.object({ type: v.literal('takeSnapshot'), job: id }),
	v.object({ type: v.literal('giveSnapshot'), job: id, snapshot: v.object({ state: buffer, copier: v.nullable(buffer) }) }),
	v.object({ type: v.literal('dropSnapshot'), job: id }),
	v.object({ type: v.literal('listPairings') }),
	v.object({ type: v.literal('unpair'), id: v.nullable(id) })
]);

/** @throws ServiceError `request.invalid` that names the first member that is wrong */
export function checkRequest(given: unknown): Request {
	const parsed = v.safeParse(schema, given);
	// The recipe inside is still anything; the host parses it before it uses it.
	if (parsed.success) return parsed.output as unknown as Request;
	const [issue] = parsed.issues;
	const where = v.getDotPath(issue) ?? 'request';
	const message = `The request is not one that Utsushi knows (${where}: ${issue.message}). The app and the helper may be of different versions; reload the app.`;
	throw new ServiceError(errorProblem('request.invalid', where, message, { field: where }));
}
