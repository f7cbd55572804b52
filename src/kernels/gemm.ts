/**
 * Matrix products: every linear layer, convolution, LoRA term and factor gradient.
 *
 * One op becomes one dispatch, unless it has more terms than may be bound at once (then a chain, each adding the one before as an f32
 * residual) or too little parallelism for its long reduction (then slices of K in a first dispatch and their sum in a second; the order of
 * additions is fixed, so results repeat bit by bit). Products of one shape that are ready at one time share a dispatch (`batch.ts` finds them).
 */
import type { GemmOp, GemmTerm, Scale, Value } from '../graph/ir';
import type { Binding, Dispatch, Scratch, Slot, Target } from './dispatch';
import { bytesOf, elementsOf, flatWorkgroups, halves, read, scaleParams, write, type Lowerings } from './lowering';
import { chooseSplit, chooseTile, coverOf, type Tile } from './tiles';

export const gemm = { gemm: (op, target) => lowerGemm(op, target) } satisfies Partial<Lowerings>;

export const MAX_TERMS = 4;
const REDUCE_WORKGROUP = 64;

const A_MODES = { rows: 0, cols: 1, conv: 2, convTransposed: 3 } as const;
const B_MODES = { nk: 0, kn: 1, convWeightTransposed: 2, convPatches: 3 } as const;

/** One dispatch's share of an op: some of the terms, and what follows their sum. */
interface Part {
	readonly m: number;
	readonly n: number;
	/** Of all products, in order. */
	readonly terms: readonly GemmTerm[];
	readonly scale: Scale | undefined;
	readonly bias: Value | undefined;
	readonly rowBias: Value | undefined;
	readonly residual: Slot | undefined;
	/** One for each product; more than one share no bias, row bias and residual, and have equally many terms of equal shapes. */
	readonly outs: readonly Slot[];
	readonly name: string;
}

/** A kernel shape chosen by the caller instead of the heuristic; `split` slices of K (1: none). */
export interface GemmChoice {
	readonly tile: Tile;
	/** Absent: as the heuristic would. */
	readonly split?: number;
}

/** `choice` is for tests and measurements. */
export function lowerGemm(op: GemmOp, target: Target, choice?: GemmChoice): Dispatch[] {
	if (op.n % 4 !== 0) throw new Error(`gemm ${op.out.name}: n = ${op.n} is not a multiple of 4.`);
	const dispatches: Dispatch[] = [];
	const limit = Math.max(1, Math.min(MAX_TERMS, Math.floor((target.maxStorageBuffers - 4) / 2)));
	let residual: Slot | undefined = op.residual;
	for (let start = 0; start < op.terms.length; start += limit) {
		const last = start + limit >= op.terms.length;
		// The scale applies to the sum of all terms, so each part scales its own and adds what came before as it is.
		const part: Part = {
			m: op.m,
			n: op.n,
			terms: op.terms.slice(start, start + limit),
			scale: op.scale,
			bias: last ? op.bias : undefined,
			rowBias: last ? op.rowBias : undefined,
			residual,
			outs: [last ? op.out : { scratch: `${op.out.name} (terms before ${start + limit})`, elements: op.m * op.n, dtype: 'f32' }],
			name: op.out.name
		};
		dispatches.push(...lowerPart(part, target, choice));
		residual = part.outs[0];
	}
	return dispatches;
}

/** Several products that `batch.ts` found alike: `MAX_TERMS` terms at most in all, one or two each. */
export function lowerBatch(ops: readonly [GemmOp, ...GemmOp[]], target: Target, choice?: GemmChoice): Dispatch[] {
	const [first] = ops;
	const name = ops.map(({ out }) => out.name).join(' + ');
	const none = { bias: undefined, rowBias: undefined, residual: undefined };
	const part: Part = { m: first.m, n: first.n, terms: ops.flatMap(({ terms }) => terms), scale: first.scale, ...none, outs: ops.map(({ out }) => out), name };
	return lowerPart(part, target, choice);
}

function lowerPart(part: Part, target: Target, choice: GemmChoice | undefined): Dispatch[] {
	const alike = new Set(part.terms.map(axesOf)).size === 1;
	// Where results are stored in halves, rows that come in f32 (texts) may be rounded as they are read.
	const rounded = part.m >= 16 && part.outs.every((out) => out.dtype === 'f16');
	const halved = alike && part.terms.every(({ a, aMode }) => a.dtype === 'f16' || (rounded && aMode.kind === 'rows'));
	const items = part.outs.length;
	const own = part.terms.slice(0, part.terms.length / items);
	const problem = { m: part.m, n: part.n, k: own.reduce((sum, term) => sum + term.k, 0), items, halves: halved, form: formOf(part.terms) };
	const tile = choice?.tile ?? chooseTile(problem, target);
	const split = choice?.split ?? chooseSplit(tile, problem);
	if (tile.kind === 'matrix' && !alike) throw new Error(`gemm ${part.name}: the terms are stored along different axes.`);
	const cover = coverOf(tile);
	const grid: [number, number] = [Math.ceil(part.n / cover.columns), Math.ceil(part.m / cover.rows)];
	if (Math.max(...grid) > target.maxWorkgroupsPerDimension) throw new Error(`gemm ${part.name}: [${part.m}, ${part.n}] needs too many workgroups.`);
	const common = { family: familyOf(part), flops: 2 * items * problem.m * problem.n * problem.k };
	const terms = part.terms.map((term) => ({ term, layout: layoutOf(term, part) }));
	if (split <= 1 || (tile.kind !== 'tile' && tile.kind !== 'matrix')) {
		const { bindings, conditions } = finish(part, target);
		return [
			{
				...common,
				shader: `gemm_${tile.kind}`,
				conditions: { ...conditions, ...termConditions(part, target, conditions), ...tileConditions(tile, part, terms) },
				constants: { ...modeConstants(part.terms), ...tileConstants(tile, part.terms) },
				bindings: [...operandsOf(part), ...bindings],
				params: packParams(part, terms, 0, 1),
				workgroups: [grid[0], grid[1], items],
				label: `gemm ${part.name} ${part.m}×${part.n}×${problem.k} ${tile.name}`,
				bytes: trafficOf(part)
			}
		];
	}
	const steps = terms.slice(0, own.length).reduce((sum, { layout }) => sum + layout.segments * Math.ceil(layout.length / tile.bk), 0);
	const perSlice = Math.ceil(steps / split);
	const slices = Math.ceil(steps / perSlice);
	const partials: Scratch = { scratch: `${part.name} (slices of K)`, elements: items * slices * part.m * part.n, dtype: 'f32' };
	const bare = { ...part, bias: undefined, rowBias: undefined, residual: undefined, outs: [partials] };
	const first = finish(bare, target);
	const second = finish(part, target);
	return [
		{
			...common,
			shader: `gemm_${tile.kind}`,
			conditions: { ...first.conditions, ...termConditions(part, target, first.conditions), ...tileConditions(tile, part, terms), partial: true },
			constants: { ...modeConstants(part.terms), ...tileConstants(tile, part.terms) },
			bindings: [...operandsOf(part), ...first.bindings],
			params: packParams(bare, terms, perSlice, slices),
			workgroups: [grid[0], grid[1], items * slices],
			label: `gemm ${part.name} ${part.m}×${part.n}×${problem.k} ${tile.name} in ${slices} slices`,
			bytes: trafficOf(bare)
		},
		{
			family: common.family,
			flops: items * slices * part.m * part.n,
			shader: 'gemm_reduce',
			conditions: { ...second.conditions, batched: items > 1 },
			constants: { WORKGROUP: REDUCE_WORKGROUP },
			bindings: [read(partials), ...second.bindings],
			params: packParams(part, [], slices, items),
			workgroups: flatWorkgroups((items * part.m * part.n) / 4, REDUCE_WORKGROUP, target),
			label: `gemm ${part.name} sum of ${slices} slices`,
			bytes: bytesOf(partials) + part.outs.reduce((sum, out) => sum + bytesOf(out), 0)
		}
	];
}

function familyOf(part: Part): string {
	return part.terms.some((term) => term.aMode.kind === 'conv' || term.aMode.kind === 'convTransposed' || term.bMode.kind === 'convPatches') ? 'conv' : 'gemm';
}

/** Bytes that must move at least once. */
function trafficOf(part: Part): number {
	const slots = new Set<Slot>([...part.terms.flatMap(({ a, b }) => [a, b]), ...part.outs, ...(part.residual ? [part.residual] : [])]);
	return [...slots].reduce((sum, slot) => sum + bytesOf(slot), 0);
}

/** Which matrices of a batch are the first term's, and so are not bound again: `a1_first`, … */
function shared({ terms, outs }: Part): Record<string, boolean> {
	const conditions: Record<string, boolean> = {};
	if (outs.length > 1) {
		terms.forEach(({ a, b }, i) => {
			if (i > 0 && a === terms[0]?.a) conditions[`a${i}_first`] = true;
			if (i > 0 && b === terms[0]?.b) conditions[`b${i}_first`] = true;
		});
	}
	return conditions;
}

function operandsOf(part: Part): Binding[] {
	const once = shared(part);
	return part.terms.flatMap(({ a, b }, i) => [
		...(once[`a${i}_first`] ? [] : [{ ...read(a), binding: 2 * i }]),
		...(once[`b${i}_first`] ? [] : [{ ...read(b), binding: 2 * i + 1 }])
	]);
}

/** The epilogue's bindings, with their numbers in gemm_result.wesl, and conditions. */
function finish(part: Part, target: Target): { bindings: Binding[]; conditions: Record<string, boolean> } {
	const [first, ...others] = part.outs;
	if (!first) throw new Error(`gemm ${part.name} has no result.`);
	const bindings: Binding[] = [{ ...write(first), binding: 8 }, ...others.map((out, i) => ({ ...write(out), binding: 12 + i }))];
	const present: Record<string, Slot> = { out: first };
	const conditions: Record<string, boolean> = {};
	others.forEach((_, i) => (conditions[`outs_${i + 2}`] = true));
	const extras = [
		['bias', 9, part.bias],
		['row_bias', 10, part.rowBias],
		['residual', 11, part.residual]
	] as const;
	for (const [name, binding, slot] of extras) {
		if (!slot) continue;
		bindings.push({ ...read(slot), binding });
		conditions[name] = true;
		present[name] = slot;
	}
	return { bindings, conditions: { ...conditions, ...halves(target, present) } };
}

function termConditions(part: Part, target: Target, epilogue: Readonly<Record<string, boolean>>): Record<string, boolean> {
	const { terms, outs } = part;
	const named: Record<string, Value> = {};
	const int8: Record<string, boolean> = {};
	terms.forEach((term, i) => {
		named[`a${i}`] = term.a;
		named[`b${i}`] = term.b;
		if (term.b.dtype === 'i8') int8[`b${i}_int8`] = true;
	});
	const conditions: Record<string, boolean> = { ...halves(target, named), ...int8 };
	return {
		...conditions,
		...shared(part),
		f16: conditions['f16'] === true || epilogue['f16'] === true,
		batched: outs.length > 1,
		paired: outs.length > 1 && terms.length > outs.length,
		terms_2: terms.length >= 2,
		terms_3: terms.length >= 3,
		terms_4: terms.length >= 4
	};
}

function modeConstants(terms: readonly GemmTerm[]): Record<string, number> {
	const constants: Record<string, number> = {};
	for (let i = 0; i < MAX_TERMS; i++) {
		const term = terms[i];
		constants[`A${i}_MODE`] = term ? A_MODES[term.aMode.kind] : 0;
		constants[`B${i}_MODE`] = term ? B_MODES[term.bMode.kind] : 0;
	}
	return constants;
}

const aOverK = (term: GemmTerm | undefined): boolean => term?.aMode.kind !== 'cols';
const bOverK = (term: GemmTerm | undefined): boolean => term?.bMode.kind === 'nk';

/** Along which axes a term's matrices are stored. Kernels that stage matrices as stored take terms that are alike. */
const axesOf = (term: GemmTerm): string => `${aOverK(term) ? 'k' : 'm'}${bOverK(term) ? 'k' : 'n'}`;

/** How a measurement of one product is found for another: by the way the first term reads its matrices. */
export const formOf = ([first]: readonly GemmTerm[]): string => (first ? `${first.aMode.kind} ${first.bMode.kind}` : '');

function tileConditions(tile: Tile, part: Part, terms: readonly PlacedTerm[]): Record<string, boolean> {
	if (tile.kind === 'tile') {
		const packed = tile.ahead && part.terms.every(({ a, b }) => a.dtype === 'f16' && (b.dtype === 'f16' || (b.dtype === 'f32' && b.kind === 'parameter')));
		const alike = new Set(part.terms.map(axesOf)).size === 1;
		return { m8: tile.tm === 8, n8: tile.tn === 8, k8: tile.bk >= 8, k16: tile.bk >= 16, ahead: tile.ahead, packed, alike };
	}
	if (tile.kind === 'strip') return { deep: tile.deep, slices_first: aOverK(part.terms[0]), lanes_on_m: part.m > part.n };
	if (tile.kind === 'matrix') {
		const [first] = part.terms;
		return {
			f16: true,
			subgroups: true,
			subgroup_matrix: true,
			over_k_a: aOverK(first),
			over_k_b: bOverK(first),
			m2: tile.wm >= 32,
			m4: tile.wm >= 64,
			n2: tile.wn >= 32,
			n4: tile.wn >= 64,
			...wideConditions(part, terms)
		};
	}
	return { lanes_on_m: tile.lanesOn === 'm', subgroups: tile.kind === 'lanes', lanes_4: tile.kind === 'lanes' && tile.lanes === 4 };
}

function tileConstants(tile: Tile, terms: readonly GemmTerm[]): Record<string, number> {
	switch (tile.kind) {
		case 'tile':
			return { BM: tile.bm, BN: tile.bn, BK: tile.bk, TM: tile.tm, TN: tile.tn };
		case 'matrix':
			return { BM: tile.bm, BN: tile.bn, BK: tile.bk, WM: tile.wm, WN: tile.wn, A_OVER_K: aOverK(terms[0]) ? 1 : 0, B_OVER_K: bOverK(terms[0]) ? 1 : 0 };
		case 'strip':
			return { BLOCKS_M: tile.bm / 4, BLOCKS_N: tile.bn / 4, SLICES: tile.slices };
		case 'lanes':
			return { LANES: tile.lanes, SHARED: tile.shared };
		case 'fat':
			return {
				LANES_M: tile.lanesOn === 'm' ? tile.lanes : 1,
				LANES_N: tile.lanesOn === 'n' ? tile.lanes : 1,
				BLOCKS_M: tile.blocksM,
				BLOCKS_N: tile.blocksN
			};
	}
}

interface PlacedTerm {
	readonly term: GemmTerm;
	readonly layout: TermLayout;
}

/** Which matrices may be read eight halves at a time: those whose rows, and whatever part of them is taken, are whole eights. */
function wideConditions({ m, n }: Part, terms: readonly PlacedTerm[]): Record<string, boolean> {
	const conditions: Record<string, boolean> = {};
	const even = (...counts: readonly number[]): boolean => counts.every((count) => count % 2 === 0);
	terms.forEach(({ term: { a, aMode, b, bMode }, layout }, i) => {
		const { aStride, bStride, bColumn, channels, length } = layout;
		const gathered = aMode.kind === 'conv' || aMode.kind === 'convTransposed';
		const wideA = aMode.kind === 'cols' ? even(aStride, m / 4) : gathered ? even(channels) : even(aStride, length / 4);
		const wideB = bMode.kind === 'nk' ? even(bStride, bColumn, length / 4) : bMode.kind === 'convPatches' ? even(channels) : even(bStride, bColumn, n / 4);
		conditions[`a${i}_wide`] = a.dtype === 'f16' && wideA;
		conditions[`b${i}_wide`] = b.dtype === 'f16' && wideB;
	});
	return conditions;
}

/** The shader's `Term`. */
interface TermLayout {
	readonly k: number;
	readonly length: number;
	readonly segments: number;
	readonly aStride: number;
	readonly bStride: number;
	readonly bColumn: number;
	readonly rowHeight: number;
	readonly rowWidth: number;
	readonly height: number;
	readonly width: number;
	readonly channels: number;
	readonly flags: number;
	/** Of the whole matrix: behind them lies what few bits carry along. */
	readonly bQuads: number;
}

const lastOf = (value: Value): number => value.shape[value.shape.length - 1] ?? 1;

function quads(count: number, what: string, part: Part): number {
	if (count % 4 !== 0) throw new Error(`gemm ${part.name}: ${what} = ${count} is not a multiple of 4.`);
	return count / 4;
}

function layoutOf(term: GemmTerm, part: Part): TermLayout {
	const { aMode, bMode } = term;
	const segments = aMode.kind === 'conv' || aMode.kind === 'convTransposed' || bMode.kind === 'convWeightTransposed' ? 9 : 1;
	const length = term.k / segments;
	if (aMode.kind !== 'cols' || bMode.kind === 'nk' || segments > 1) quads(length, 'k', part);
	if (aMode.kind === 'cols') quads(part.m, 'm', part);
	const picture = aMode.kind === 'conv' || aMode.kind === 'convTransposed' ? aMode : bMode.kind === 'convPatches' ? bMode : undefined;
	if (bMode.kind === 'convPatches' && picture !== bMode) throw new Error(`gemm ${part.name}: a term cannot gather both matrices.`);
	const stride = picture?.stride ?? 1;
	const grow = picture && 'upsample' in picture && picture.upsample ? 2 : 1;
	const inner = { height: (picture?.height ?? 1) * grow, width: (picture?.width ?? 1) * grow };
	const strided = { height: Math.floor((inner.height - 1) / stride) + 1, width: Math.floor((inner.width - 1) / stride) + 1 };
	const backwards = aMode.kind === 'convTransposed';
	const rows = backwards ? inner : strided;
	const looked = backwards ? strided : inner;
	return {
		k: term.k,
		length,
		segments,
		aStride: quads(lastOf(term.a), `columns of ${term.a.name}`, part),
		bStride: quads(lastOf(term.b), `columns of ${term.b.name}`, part),
		bColumn: quads(term.bColumn ?? 0, 'bColumn', part),
		rowHeight: rows.height,
		rowWidth: rows.width,
		height: looked.height,
		width: looked.width,
		channels: quads(picture?.channels ?? 4, 'channels', part),
		flags: (stride === 2 ? 1 : 0) | (grow === 2 ? 2 : 0),
		bQuads: elementsOf(term.b) / 4
	};
}

const TERM_WORDS = 12;
const HEAD_WORDS = 8;

/** The shader's `Params`; `split` is steps per slice for the first half of a split reduction, slices for the second; `parts` slices and products. */
function packParams(part: Part, terms: readonly { readonly layout: TermLayout }[], split: number, parts: number): ArrayBuffer {
	const buffer = new ArrayBuffer((HEAD_WORDS + (TERM_WORDS + 1) * MAX_TERMS) * 4);
	const words = new Uint32Array(buffer);
	const [factor, scalar] = scaleParams(part.scale);
	const items = part.rowBias ? elementsOf(part.rowBias) / part.n : 1;
	words.set([part.m, part.n / 4, part.m / items, scalar], 0);
	new Float32Array(buffer)[4] = factor.f32;
	words[5] = split;
	words[7] = parts;
	terms.forEach(({ layout: t }, i) => {
		words.set(
			[t.k, t.length, t.segments, t.aStride, t.bStride, t.bColumn, t.rowHeight, t.rowWidth, t.height, t.width, t.channels, t.flags],
			HEAD_WORDS + i * TERM_WORDS
		);
		words[HEAD_WORDS + TERM_WORDS * MAX_TERMS + i] = t.bQuads;
	});
	return buffer;
}
