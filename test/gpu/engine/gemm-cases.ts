/**
 * The gemm problems the tests run: every way of reading the left and right matrix, alone and combined as LoRA uses them, with shapes that are
 * no multiples of any tile. `ESSENTIAL` is a smaller choice that still has every mode.
 */
import type { AMode, BMode, DType, GemmOp, GemmTerm, Graph, Value, ValueKind } from '../../../src/graph/ir';
import type { Feed } from '../harness';
import { randomFloats } from '../harness';
import { halfBits, halfValue } from '../../../src/formats/half';

export interface GemmCase {
	readonly graph: Graph;
	readonly op: GemmOp;
	readonly feeds: ReadonlyMap<Value, Feed>;
	readonly scalars: Readonly<Record<string, number>>;
}

type Storage = 'f32' | 'f16';

/** How the matrices are stored: left (activations), right (weights; factors are always f32) and the result. */
export interface Types {
	readonly left: Storage;
	readonly right: Storage;
	readonly out: Storage;
}

class Builder {
	readonly values: Value[] = [];
	readonly feeds = new Map<Value, Feed>();
	readonly terms: GemmTerm[] = [];

	constructor(readonly types: Types) {}

	value(name: string, shape: readonly number[], dtype: DType, kind: ValueKind): Value {
		const value: Value = { id: this.values.length, name, shape, dtype, kind };
		this.values.push(value);
		return value;
	}

	/** Halves can only be fed as constants, so the kind follows the type. Numbers are rounded to what the type can hold. */
	feed(name: string, shape: readonly number[], role: 'left' | 'right' | 'factor'): Value {
		const dtype = role === 'factor' ? 'f32' : this.types[role];
		const value = this.value(name, shape, dtype, dtype === 'f16' ? 'constant' : role === 'left' ? 'input' : 'parameter');
		const count = shape.reduce((product, size) => product * size, 1);
		const data = randomFloats(count, this.values.length * 7919 + count, 0.5);
		this.feeds.set(value, dtype === 'f16' ? data.map((x) => halfValue(halfBits(x))) : data);
		return value;
	}

	term(a: Value, aMode: AMode, b: Value, bMode: BMode, k: number, bColumn?: number): void {
		this.terms.push({ a, aMode, b, bMode, k, ...(bColumn === undefined ? {} : { bColumn }) });
	}

	finish(m: number, n: number, extra: Partial<Pick<GemmOp, 'bias' | 'rowBias' | 'residual' | 'scale'>> = {}): GemmCase {
		const out = this.value('out', [m, n], this.types.out, 'intermediate');
		const op: GemmOp = { type: 'gemm', m, n, terms: this.terms, ...extra, out };
		const scalars = extra.scale?.scalar ? [extra.scale.scalar] : [];
		return {
			graph: { values: this.values, ops: [op], scalars, outputs: [out] },
			op,
			feeds: this.feeds,
			scalars: extra.scale?.scalar ? { [extra.scale.scalar.name]: 0.75 } : {}
		};
	}
}

const picture = (height: number, width: number, channels: number, stride: 1 | 2, upsample: boolean) => ({ stride, upsample, height, width, channels });

const half = (size: number, stride: 1 | 2): number => Math.floor((size - 1) / stride) + 1;

/** Named problems; each call makes fresh values. */
export const GEMM_CASES: Readonly<Record<string, (types: Types) => GemmCase>> = {
	'linear with bias, rowBias, residual and scale': (types) => {
		const g = new Builder(types);
		g.term(g.feed('x', [2, 35, 72], 'left'), { kind: 'rows' }, g.feed('w', [92, 72], 'right'), { kind: 'nk' }, 72);
		return g.finish(70, 92, {
			bias: g.feed('bias', [92], 'right'),
			rowBias: g.feed('row bias', [2, 92], 'left'),
			residual: g.feed('residual', [2, 35, 92], 'left'),
			scale: { factor: 1.5, scalar: { name: 'multiplier', index: 5 } }
		});
	},
	'linear of two channel parts with two adapters': (types) => {
		const g = new Builder(types);
		const w = g.feed('w', [64, 60], 'right');
		g.term(g.feed('x0', [37, 40], 'left'), { kind: 'rows' }, w, { kind: 'nk' }, 40);
		g.term(g.feed('x1', [37, 20], 'left'), { kind: 'rows' }, w, { kind: 'nk' }, 20, 40);
		g.term(g.feed('h0', [37, 4], 'left'), { kind: 'rows' }, g.feed('up0', [64, 4], 'factor'), { kind: 'nk' }, 4);
		g.term(g.feed('h1', [37, 8], 'left'), { kind: 'rows' }, g.feed('up1', [64, 8], 'factor'), { kind: 'nk' }, 8);
		return g.finish(37, 64);
	},
	'six terms in a chain': (types) => {
		const g = new Builder(types);
		for (let i = 0; i < 6; i++) g.term(g.feed(`x${i}`, [20, 12], 'left'), { kind: 'rows' }, g.feed(`w${i}`, [28, 12], 'right'), { kind: 'nk' }, 12);
		return g.finish(20, 28, { residual: g.feed('residual', [20, 28], 'left'), bias: g.feed('bias', [28], 'right'), scale: { factor: 0.5 } });
	},
	'skinny: x·Aᵀ': (types) => {
		const g = new Builder(types);
		g.term(g.feed('x', [261, 320], 'left'), { kind: 'rows' }, g.feed('down', [4, 320], 'factor'), { kind: 'nk' }, 320);
		return g.finish(261, 4, { scale: { factor: 0.25 } });
	},
	'input gradient: dy·W + g·A': (types) => {
		const g = new Builder(types);
		g.term(g.feed('dy', [45, 84], 'left'), { kind: 'rows' }, g.feed('w', [84, 100], 'right'), { kind: 'kn' }, 84);
		g.term(g.feed('g', [45, 16], 'left'), { kind: 'rows' }, g.feed('down', [16, 100], 'factor'), { kind: 'kn' }, 16);
		return g.finish(45, 100);
	},
	'input gradient into one half of a concat': (types) => {
		const g = new Builder(types);
		g.term(g.feed('dy', [33, 36], 'left'), { kind: 'rows' }, g.feed('w', [36, 100], 'right'), { kind: 'kn' }, 36, 40);
		return g.finish(33, 60);
	},
	'up gradient: dyᵀ·h over 77 rows': (types) => {
		const g = new Builder(types);
		g.term(g.feed('dy', [77, 132], 'left'), { kind: 'cols' }, g.feed('h', [77, 8], 'left'), { kind: 'kn' }, 77);
		return g.finish(132, 8);
	},
	'down gradient: gᵀ·x over 1000 rows': (types) => {
		const g = new Builder(types);
		g.term(g.feed('g', [1000, 16], 'left'), { kind: 'cols' }, g.feed('x', [1000, 180], 'left'), { kind: 'kn' }, 1000);
		return g.finish(16, 180);
	},
	'transposed left with [N, K] right': (types) => {
		const g = new Builder(types);
		g.term(g.feed('a', [48, 36], 'left'), { kind: 'cols' }, g.feed('b', [40, 48], 'right'), { kind: 'nk' }, 48);
		return g.finish(36, 40);
	},
	...convolutions()
};

function convolutions(): Record<string, (types: Types) => GemmCase> {
	const cases: Record<string, (types: Types) => GemmCase> = {};
	for (const [name, stride, upsample] of [
		['conv', 1, false],
		['conv stride 2', 2, false],
		['conv upsampled', 1, true]
	] as const) {
		cases[name] = (types) => {
			const g = new Builder(types);
			const [h, w, cin, cout] = [7, 5, 12, 44];
			const grow = upsample ? 2 : 1;
			const [ho, wo] = [half(h * grow, stride), half(w * grow, stride)];
			const mode = { kind: 'conv', ...picture(h, w, cin, stride, upsample) } as const;
			const x = g.feed('x', [2, h, w, cin], 'left');
			g.term(x, mode, g.feed('w', [cout, 9 * cin], 'right'), { kind: 'nk' }, 9 * cin);
			g.term(g.feed('h', [2, ho, wo, 4], 'left'), { kind: 'rows' }, g.feed('up', [cout, 4], 'factor'), { kind: 'nk' }, 4);
			return g.finish(2 * ho * wo, cout, { bias: g.feed('bias', [cout], 'right') });
		};
		cases[`${name}: gradient of the down factor`] = (types) => {
			const g = new Builder(types);
			const [h, w, cin] = [7, 5, 12];
			const grow = upsample ? 2 : 1;
			const rows = 2 * half(h * grow, stride) * half(w * grow, stride);
			g.term(
				g.feed('g', [rows, 8], 'left'),
				{ kind: 'cols' },
				g.feed('x', [2, h, w, cin], 'left'),
				{ kind: 'convPatches', ...picture(h, w, cin, stride, upsample) },
				rows
			);
			return g.finish(8, 9 * cin);
		};
		if (upsample) continue;
		cases[`${name}: input gradient`] = (types) => {
			const g = new Builder(types);
			const [h, w, cin, cout] = [7, 6, 20, 24];
			const mode = { kind: 'convTransposed', stride, height: h, width: w } as const;
			const rows = 2 * half(h, stride) * half(w, stride);
			g.term(
				g.feed('dy', [rows, cout], 'left'),
				{ ...mode, channels: cout },
				g.feed('w', [cout, 9 * cin], 'right'),
				{ kind: 'convWeightTransposed', channels: cin },
				9 * cout
			);
			g.term(
				g.feed('g', [rows, 4], 'left'),
				{ ...mode, channels: 4 },
				g.feed('down', [4, 9 * cin], 'factor'),
				{ kind: 'convWeightTransposed', channels: cin },
				36
			);
			return g.finish(2 * h * w, cin, { residual: g.feed('residual', [2 * h * w, cin], 'left') });
		};
	}
	return cases;
}

export const ESSENTIAL = [
	'linear with bias, rowBias, residual and scale',
	'input gradient: dy·W + g·A',
	'up gradient: dyᵀ·h over 77 rows',
	'transposed left with [N, K] right',
	'conv stride 2',
	'conv stride 2: input gradient',
	'conv: gradient of the down factor'
];

/**
 * What a result may be off by, in units of the largest number: a sum of K products in f32 drifts by about eps·√K (random signs; a factor 4 to spare),
 * and storing halves rounds by 2^-11.
 */
export function errorBound(op: GemmOp): number {
	const k = op.terms.reduce((sum, term) => sum + term.k, 0);
	return 2 ** -23 * 4 * Math.sqrt(k) + (op.out.dtype === 'f16' ? 2 ** -11 : 0);
}
