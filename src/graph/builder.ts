/**
 * The forward side of a graph, as the UNet writes it. Every method checks its shapes, appends one operation (two with adapters) and
 * returns the value it makes. Pictures `[B, H, W, C]` and tokens `[B, N, C]` are both accepted wherever rows × channels are meant,
 * and the output keeps the axes of x: nothing is ever reshaped.
 *
 * Adapters: with LoRA, hs = scale·(x·Aᵀ) is one gemm, and hs·Bᵀ becomes one more term of the layer's own gemm. LoHa's product of products has no such short cut:
 * its delta is made as a matrix and added to the weight, f32 whatever the graph's storage, as a small change would be lost in a weight of halves.
 */
import { Emitter } from './emitter';
import type { AMode, DType, GemmTerm, Graph, LossOp, Scale, ScalarRef, Value } from './ir';
import { batchOf, channelsOf, convSize, elementsOf, GraphError, picture, rowsOf, sameShape, show } from './shape';

/**
 * down `[r, K]` (3×3 conv: `[r, 9·Cin]`), up `[N, r]`; scale is alpha/rank times the multiplier's scalar.
 * With `second` (LoHa) the layer's weight changes by scale · (up·down) ∘ (second.up·second.down).
 */
export interface Adapter {
	readonly down: Value;
	readonly up: Value;
	readonly scale: Scale;
	readonly second?: { readonly down: Value; readonly up: Value };
}

export interface LinearOptions {
	readonly bias?: Value | undefined;
	/** Added to the result; same shape. */
	readonly residual?: Value | undefined;
	/** `[B, N]`, added to all rows of a batch item. */
	readonly rowBias?: Value | undefined;
	readonly adapters?: readonly Adapter[] | undefined;
	/** Storage of the result when it should differ from the graph's, e.g. f32 for a prediction. */
	readonly dtype?: DType | undefined;
}

export interface ConvOptions extends LinearOptions {
	readonly stride?: 1 | 2 | undefined;
	/** Read x as if nearest-upsampled ×2 first. */
	readonly upsample?: boolean | undefined;
}

/** One stretch of the K axis: where rows come from and which columns of the weight belong to it. */
interface Source {
	readonly a: Value;
	readonly aMode: AMode;
	readonly k: number;
	readonly column: number;
}

function checked(fits: boolean, what: string, a: Value, b: Value): void {
	if (!fits) throw new GraphError(`${what}: ${show(a)} and ${show(b)} do not fit together.`);
}

function layerName(weight: Value): string {
	return weight.name.replace(/\.weight$/, '');
}

export class GraphBuilder {
	readonly emitter = new Emitter();
	private readonly storage: 'f32' | 'f16';
	private readonly known = new Map<string, Value>();

	/** @param options.storage How intermediates and constants are stored. Statistics, losses and parameter gradients stay f32. */
	constructor(options: { storage: 'f32' | 'f16' }) {
		this.storage = options.storage;
	}

	/** Written by the host before a run. */
	input(name: string, shape: readonly number[], dtype: DType = 'f32'): Value {
		return this.emitter.value(name, shape, dtype, 'input');
	}

	/** A frozen weight, looked up by name in a weight store. Asking for the same name again gives the same value. */
	constant(name: string, shape: readonly number[]): Value {
		return this.named(name, shape, this.storage, 'constant');
	}

	/** A trainable factor, always f32. Asking for the same name again gives the same value. */
	parameter(name: string, shape: readonly number[]): Value {
		return this.named(name, shape, 'f32', 'parameter');
	}

	scalar(name: string): ScalarRef {
		return this.emitter.scalar(name);
	}

	/** y = x·Wᵀ: x `[.., K]`, weight `[N, K]` → `[.., N]`. */
	linear(x: Value, weight: Value, options: LinearOptions = {}): Value {
		return this.linearParts([x], weight, options);
	}

	/** `linear` on the channel concat of the parts, without making the concat; the weight's columns are in the order of the parts. */
	linearParts(parts: readonly Value[], weight: Value, options: LinearOptions = {}): Value {
		const first = parts[0];
		if (!first) throw new GraphError(`linear ${show(weight)}: there are no parts.`);
		const sources: Source[] = [];
		let column = 0;
		for (const part of parts) {
			checked(rowsOf(part) === rowsOf(first), 'linear parts must have the same rows', first, part);
			sources.push({ a: part, aMode: { kind: 'rows' }, k: channelsOf(part), column });
			column += channelsOf(part);
		}
		checked(column === channelsOf(weight), 'linear', first, weight);
		return this.affine(sources, weight, first.shape.slice(0, -1), options);
	}

	/** 3×3, padding 1: x `[B, H, W, Cin]`, weight `[Cout, 9·Cin]` in the order (ky, kx, ci) → `[B, Ho, Wo, Cout]`. */
	conv(x: Value, weight: Value, options: ConvOptions = {}): Value {
		const { batch, height, width, channels } = picture(x);
		const stride = options.stride ?? 1;
		const upsample = options.upsample ?? false;
		const grow = upsample ? 2 : 1;
		checked(channelsOf(weight) === 9 * channels, 'conv', x, weight);
		const source: Source = { a: x, aMode: { kind: 'conv', stride, upsample, height, width, channels }, k: 9 * channels, column: 0 };
		return this.affine([source], weight, [batch, convSize(height * grow, stride), convSize(width * grow, stride)], options);
	}

	/** GroupNorm over x `[B, .., C]`, then SiLU when asked. */
	groupNorm(x: Value, gamma: Value, beta: Value, options: { groups: number; eps: number; silu: boolean }): Value {
		const { groups, eps, silu } = options;
		this.checkAffine('groupNorm', x, gamma, beta);
		if (channelsOf(x) % groups !== 0) throw new GraphError(`groupNorm: ${show(x)} does not divide into ${groups} groups.`);
		const out = this.fresh(layerName(gamma), x.shape, x.dtype);
		const stats = this.fresh(`${layerName(gamma)}.stats`, [batchOf(x), groups, 2], 'f32');
		this.emitter.push({ type: 'groupNorm', x, gamma, beta, groups, eps, silu, out, stats });
		return out;
	}

	/** LayerNorm over the last axis. */
	layerNorm(x: Value, gamma: Value, beta: Value, eps: number): Value {
		this.checkAffine('layerNorm', x, gamma, beta);
		const out = this.fresh(layerName(gamma), x.shape, x.dtype);
		const stats = this.fresh(`${layerName(gamma)}.stats`, [rowsOf(x), 2], 'f32');
		this.emitter.push({ type: 'layerNorm', x, gamma, beta, eps, out, stats });
		return out;
	}

	/** Scaled dot-product attention; q `[B, .., C]`, k and v `[B, .., C]` with rows of their own; the scale is 1/√(C/heads). Causal: a row sees no later ones. */
	attention(q: Value, k: Value, v: Value, heads: number, causal = false): Value {
		if (causal) checked(sameShape(q, k), 'causal attention', q, k);
		checked(batchOf(q) === batchOf(k) && channelsOf(q) === channelsOf(k), 'attention', q, k);
		checked(sameShape(k, v), 'attention', k, v);
		if (channelsOf(q) % heads !== 0) throw new GraphError(`attention: ${show(q)} does not divide into ${heads} heads.`);
		const scale = 1 / Math.sqrt(channelsOf(q) / heads);
		const out = this.fresh('attention', q.shape, q.dtype);
		const lse = this.fresh('attention.lse', [batchOf(q), heads, rowsOf(q) / batchOf(q)], 'f32');
		this.emitter.push({ type: 'attention', q, k, v, heads, scale, ...(causal ? { causal } : {}), out, lse });
		return out;
	}

	/** x `[.., 2C]` = [value | gate] → value·gelu(gate) `[.., C]`. */
	geglu(x: Value): Value {
		if (channelsOf(x) % 2 !== 0) throw new GraphError(`geglu: ${show(x)} needs an even number of channels.`);
		const out = this.fresh('geglu', [...x.shape.slice(0, -1), channelsOf(x) / 2], x.dtype);
		this.emitter.push({ type: 'geglu', x, out });
		return out;
	}

	gelu(x: Value): Value {
		const out = this.fresh('gelu', x.shape, x.dtype);
		this.emitter.push({ type: 'gelu', x, out });
		return out;
	}

	silu(x: Value): Value {
		const out = this.fresh('silu', x.shape, x.dtype);
		this.emitter.push({ type: 'silu', x, out });
		return out;
	}

	add(a: Value, b: Value): Value {
		checked(sameShape(a, b), 'add', a, b);
		const out = this.fresh('add', a.shape, a.dtype === b.dtype ? a.dtype : this.storage);
		this.emitter.push({ type: 'add', a, b, out });
		return out;
	}

	/** Element by element. */
	multiply(a: Value, b: Value): Value {
		checked(sameShape(a, b), 'multiply', a, b);
		const out = this.fresh('multiply', a.shape, a.dtype === b.dtype ? a.dtype : this.storage);
		this.emitter.push({ type: 'multiply', a, b, out });
		return out;
	}

	scale(x: Value, scale: Scale): Value {
		const out = this.fresh('scale', x.shape, x.dtype);
		this.emitter.push({ type: 'scale', x, scale, out });
		return out;
	}

	/** Along channels, in the given order. */
	concat(parts: readonly Value[]): Value {
		const first = parts[0];
		if (!first) throw new GraphError('concat: there are no parts.');
		for (const part of parts) checked(rowsOf(part) === rowsOf(first) && part.dtype === first.dtype, 'concat needs the same rows and storage', first, part);
		const channels = parts.reduce((sum, part) => sum + channelsOf(part), 0);
		const out = this.fresh('concat', [...first.shape.slice(0, -1), channels], first.dtype);
		this.emitter.push({ type: 'concat', parts: [...parts], out });
		return out;
	}

	/** Channels `[start, start + channels)`. */
	slice(x: Value, start: number, channels: number): Value {
		if (start < 0 || start + channels > channelsOf(x)) throw new GraphError(`slice: ${show(x)} has no channels ${start} to ${start + channels}.`);
		const out = this.fresh('slice', [...x.shape.slice(0, -1), channels], x.dtype);
		this.emitter.push({ type: 'slice', x, start, out });
		return out;
	}

	/** Nearest ×2: `[B, H, W, C]` → `[B, 2H, 2W, C]`. */
	upsample2x(x: Value): Value {
		const { batch, height, width, channels } = picture(x);
		const out = this.fresh('upsample2x', [batch, height * 2, width * 2, channels], x.dtype);
		this.emitter.push({ type: 'upsample2x', x, out });
		return out;
	}

	/** t `[B]` → `[B, dim]` = [cos | sin]. */
	sinusoid(t: Value, dim: number): Value {
		if (dim % 2 !== 0) throw new GraphError(`sinusoid: ${show(t)} cannot become an odd number of channels (${dim}).`);
		const out = this.fresh('sinusoid', [elementsOf(t.shape), dim], this.storage);
		this.emitter.push({ type: 'sinusoid', t, out });
		return out;
	}

	/** Standard normal numbers, f32; counter is a u32 `[4]` input (offset, 0, seed low, seed high). */
	gaussian(counter: Value, shape: readonly number[]): Value {
		if (counter.dtype !== 'u32' || elementsOf(counter.shape) !== 4) throw new GraphError(`gaussian: the counter ${show(counter)} must be u32 [4].`);
		const out = this.fresh('gaussian', shape, 'f32');
		picture(out);
		this.emitter.push({ type: 'gaussian', counter, out });
		return out;
	}

	/** coef[b,0]·x0 + coef[b,1]·noise; x0 of batch 1 is repeated. `dtype`: f32 for something to be compared with, the graph's storage otherwise. */
	noised(x0: Value, noise: Value, coef: Value, dtype: DType = this.storage): Value {
		const { batch } = picture(noise);
		checked(sameShape(x0, noise) || (batchOf(x0) === 1 && elementsOf(x0.shape) * batch === elementsOf(noise.shape)), 'noised', x0, noise);
		checked(coef.shape.length === 2 && coef.shape[0] === batch && coef.shape[1] === 2, 'noised needs coefficients [B, 2]', noise, coef);
		const out = this.fresh('noised', noise.shape, dtype);
		this.emitter.push({ type: 'noised', x0, noise, coef, out });
		return out;
	}

	/** weight[b]·mean over the item of mask·f(pred − target), `[B]` f32. The mask is `[B, h, w]` f32 for predictions of four channels; absent: 1 everywhere. */
	loss(kind: LossOp['kind'], pred: Value, target: Value, weight: Value, mask?: Value): Value {
		checked(elementsOf(pred.shape) === elementsOf(target.shape) && batchOf(pred) === batchOf(target), 'loss', pred, target);
		checked(elementsOf(weight.shape) === batchOf(pred), 'loss needs a weight per item', pred, weight);
		if (mask) checked(channelsOf(pred) === 4 && mask.dtype === 'f32' && 4 * elementsOf(mask.shape) === elementsOf(pred.shape), 'loss mask', pred, mask);
		const out = this.fresh('loss', [batchOf(pred)], 'f32');
		this.emitter.push({ type: 'loss', kind, pred, target, weight, ...(mask ? { mask } : {}), out });
		return out;
	}

	/** The same numbers in another storage; x itself when nothing changes. */
	cast(x: Value, dtype: DType): Value {
		if (x.dtype === dtype) return x;
		const out = this.fresh('cast', x.shape, dtype);
		this.emitter.push({ type: 'cast', x, out });
		return out;
	}

	/** @param outputs Values that must still hold their contents after a run. */
	finish(outputs: readonly Value[]): Graph {
		return this.emitter.graph(outputs);
	}

	private fresh(name: string, shape: readonly number[], dtype: DType): Value {
		return this.emitter.value(name, shape, dtype);
	}

	private named(name: string, shape: readonly number[], dtype: DType, kind: 'constant' | 'parameter'): Value {
		const known = this.known.get(`${kind} ${name}`);
		if (!known) {
			const value = this.emitter.value(name, shape, dtype, kind);
			this.known.set(`${kind} ${name}`, value);
			return value;
		}
		if (known.shape.length !== shape.length || known.shape.some((size, axis) => size !== shape[axis])) {
			throw new GraphError(`The ${kind} ${show(known)} is asked for again as [${shape.join(', ')}].`);
		}
		return known;
	}

	private checkAffine(what: string, x: Value, gamma: Value, beta: Value): void {
		checked(elementsOf(gamma.shape) === channelsOf(x), what, x, gamma);
		checked(elementsOf(beta.shape) === channelsOf(x), what, x, beta);
	}

	/** scale · up·down, `[N, K]` f32. */
	private product(name: string, up: Value, down: Value, scale?: Scale): Value {
		const [n, k, rank] = [rowsOf(up), channelsOf(down), rowsOf(down)];
		const terms: GemmTerm[] = [{ a: up, aMode: { kind: 'rows' }, b: down, bMode: { kind: 'kn' }, k: rank }];
		return this.emitter.gemm({ m: n, n: k, terms, ...(scale ? { scale } : {}), out: this.fresh(name, [n, k], 'f32') });
	}

	/** y = Σ sources·Wᵀ + Σ adapters + bias + rowBias + residual, shape `[...axes, N]`. */
	private affine(sources: readonly Source[], weight: Value, axes: readonly number[], options: LinearOptions): Value {
		const name = layerName(weight);
		const m = elementsOf(axes);
		const n = rowsOf(weight);
		const termOf = ({ a, aMode, k }: Source, b: Value, column: number): GemmTerm => ({
			a,
			aMode,
			b,
			bMode: { kind: 'nk' },
			k,
			...(column > 0 ? { bColumn: column } : {})
		});
		const against = (b: Value): GemmTerm[] => sources.map((source) => termOf(source, b, source.column));
		let whole = weight;
		const lowRank: GemmTerm[] = [];
		for (const { down, up, scale, second } of options.adapters ?? []) {
			for (const factors of second ? [{ down, up }, second] : [{ down, up }]) {
				checked(channelsOf(factors.down) === channelsOf(weight), `adapter of ${name}, down`, factors.down, weight);
				checked(rowsOf(factors.down) === channelsOf(factors.up), `adapter of ${name}, rank`, factors.down, factors.up);
				checked(rowsOf(factors.up) === n, `adapter of ${name}, up`, factors.up, weight);
			}
			if (second) {
				const delta = this.multiply(this.product(`${name}.delta1`, up, down, scale), this.product(`${name}.delta2`, second.up, second.down));
				const sum = this.fresh(`${name}.changed`, weight.shape, 'f32');
				this.emitter.push({ type: 'add', a: whole, b: delta, out: sum });
				whole = sum;
				continue;
			}
			const rank = rowsOf(down);
			const hs = this.emitter.gemm({ m, n: rank, terms: against(down), scale, out: this.fresh(`${name}.hs`, [...axes, rank], this.storage) });
			lowRank.push({ a: hs, aMode: { kind: 'rows' }, b: up, bMode: { kind: 'nk' }, k: rank });
		}
		// An intermediate cannot be bound to one dispatch twice: each part of the input gets its own columns.
		const parted = sources.length > 1 && whole !== weight;
		const terms = parted ? sources.flatMap((source) => termOf(source, this.slice(whole, source.column, source.k), 0)) : against(whole);
		terms.push(...lowRank);
		const { bias, rowBias, residual } = options;
		const out = this.fresh(name, [...axes, n], options.dtype ?? this.storage);
		if (residual) checked(sameShape(residual, out), 'residual', residual, out);
		return this.emitter.gemm({ m, n, terms, ...(bias ? { bias } : {}), ...(rowBias ? { rowBias } : {}), ...(residual ? { residual } : {}), out });
	}
}
