/**
 * The intermediate representation: tensors as values, static shapes, one list of operations in execution order.
 *
 * Rules
 * - Layout is channels-last. A picture is `[B, H, W, C]`, tokens are `[B, N, C]`; in memory both are `[rows, C]`, row-major, dense.
 * - Shapes are fixed when the graph is built. Numbers that change from step to step are either `input` values
 *   (written by the host before the step) or named scalars (`ScalarRef`, part of the step's uniform block).
 * - An operation reads values and writes fresh values; nothing is written twice. Optimizer updates are not part of the
 *   graph: parameters and their gradients live in two flat f32 buffers, and the optimizer kernels run over those.
 * - Every LoRA pattern is expressed by `gemm` terms alone: y = x·Wᵀ + hs·Bᵀ with hs = s·(x·Aᵀ) is one `gemm` of two terms.
 *   LoHa needs its delta D = (s·B₁·A₁) ∘ (B₂·A₂) as a matrix (`multiply`); then y = x·(W + D)ᵀ is an ordinary `gemm`.
 */

/**
 * How elements are stored. Mathematics is always f32 (f64 in the interpreter).
 * i8: frozen matrices `[rows, columns]` as the right side of a gemm only, in about eleven bits a number (`kernels/int8.ts` has the layout).
 */
export type DType = 'f32' | 'f16' | 'u32' | 'i8';

/**
 * input: written by the host (latents, contexts, per-sample step numbers); constant: frozen weight, never gets a gradient;
 * parameter: a trainable factor (always f32); intermediate: written by an operation.
 */
export type ValueKind = 'input' | 'constant' | 'parameter' | 'intermediate';

export interface Value {
	readonly id: number;
	/** Unique within the graph; constants carry their checkpoint key, parameters their LoRA key. */
	readonly name: string;
	readonly shape: readonly number[];
	dtype: DType;
	readonly kind: ValueKind;
}

/** A number in the step's uniform block, e.g. `multiplier` or `lossScale`. */
export interface ScalarRef {
	readonly name: string;
	readonly index: number;
}

/** `factor × scalar`; the scalar is 1 when absent. */
export interface Scale {
	readonly factor: number;
	readonly scalar?: ScalarRef;
}

/**
 * How the left matrix of a term is read. M rows, K columns.
 * - rows: `a` is `[M, K]` as stored.
 * - cols: `a` is stored `[K, M]` (its transpose is multiplied); used by factor gradients.
 * - conv: rows are output pixels `[B, Ho, Wo]`, columns are `(ky, kx, ci)`, gathered from `a = [B, H, W, Cin]` with zero padding 1
 *   and the given stride; with `upsample` the picture is read as if nearest-upsampled ×2 first. `height`, `width` are those of `a` as stored.
 * - convTransposed: the input gradient of `conv`: rows are input pixels `[B, H, W]`, columns `(ky, kx, co)`, gathered from `a = dy [B, Ho, Wo, Cout]`:
 *   row (h, w) takes dy at ((h + 1 - ky)/stride, (w + 1 - kx)/stride) where both are whole and inside. `height`, `width` are H, W of the rows
 *   (Ho = ⌊(H-1)/stride⌋ + 1); `channels` is Cout.
 *   (Never combined with `upsample`: there the gradient is taken at the upsampled size and then sum-pooled.)
 */
export type AMode =
	| { readonly kind: 'rows' }
	| { readonly kind: 'cols' }
	| { readonly kind: 'conv'; readonly stride: 1 | 2; readonly upsample: boolean; readonly height: number; readonly width: number; readonly channels: number }
	| { readonly kind: 'convTransposed'; readonly stride: 1 | 2; readonly height: number; readonly width: number; readonly channels: number };

/**
 * How the right matrix is read. K rows, N columns.
 * - nk: `b` is stored `[N, K]` (a Linear weight `[out, in]`, a conv weight `[Cout, (ky,kx,Cin)]`), forward direction.
 * - kn: `b` is stored `[K, N]`; the input gradient of a Linear (`dy·W`) reads the same weight this way.
 * - convWeightTransposed: `b = [Cout, (ky,kx,Cin)]` read as K = (ky,kx,co), N = ci; the input gradient of a convolution. `channels` is Cin.
 * - convPatches: `b` is a picture read as K = output pixels, N = (ky,kx,ci); the gradient of a convolutional down factor.
 */
export type BMode =
	| { readonly kind: 'nk' }
	| { readonly kind: 'kn' }
	| { readonly kind: 'convWeightTransposed'; readonly channels: number }
	| {
			readonly kind: 'convPatches';
			readonly stride: 1 | 2;
			readonly upsample: boolean;
			readonly height: number;
			readonly width: number;
			readonly channels: number;
	  };

/**
 * `bColumn`: first column (counted along the *stored* last axis of b) when only a slice of a weight takes part, as for one
 * half of a skip concat; the term's K (or N) then is smaller than the stored axis. 0 when absent.
 */
export interface GemmTerm {
	readonly a: Value;
	readonly aMode: AMode;
	readonly b: Value;
	readonly bMode: BMode;
	readonly k: number;
	readonly bColumn?: number;
}

/**
 * y[M, N] = scale · Σ_terms A·B + bias[N] + rowBias[batch, N] + residual[M, N].
 * rowBias adds one row per batch item to all rows of that item (time embedding); rows per item = M / rowBias.shape[0].
 */
export interface GemmOp {
	readonly type: 'gemm';
	readonly m: number;
	readonly n: number;
	readonly terms: readonly GemmTerm[];
	readonly scale?: Scale;
	readonly bias?: Value;
	readonly rowBias?: Value;
	readonly residual?: Value;
	readonly out: Value;
}

/** y = (x - mean) / sqrt(var + eps) · gamma + beta per (batch, group), then SiLU when asked. stats: `[B, G, 2]` (mean, 1/std), f32. */
export interface GroupNormOp {
	readonly type: 'groupNorm';
	readonly x: Value; // [B, H, W, C]
	readonly gamma: Value;
	readonly beta: Value;
	readonly groups: number;
	readonly eps: number;
	readonly silu: boolean;
	readonly out: Value;
	readonly stats: Value;
}
export interface GroupNormGradOp {
	readonly type: 'groupNormGrad';
	readonly dy: Value;
	readonly x: Value;
	readonly gamma: Value;
	readonly beta: Value;
	readonly stats: Value;
	readonly groups: number;
	readonly silu: boolean;
	/** What else flows into x: out = dx + residual. */
	readonly residual?: Value;
	readonly out: Value; // dx
}

/** Over the last axis. stats: `[rows, 2]` (mean, 1/std), f32. */
export interface LayerNormOp {
	readonly type: 'layerNorm';
	readonly x: Value;
	readonly gamma: Value;
	readonly beta: Value;
	readonly eps: number;
	readonly out: Value;
	readonly stats: Value;
}
export interface LayerNormGradOp {
	readonly type: 'layerNormGrad';
	readonly dy: Value;
	readonly x: Value;
	readonly gamma: Value;
	readonly stats: Value;
	/** What else flows into x: out = dx + residual. */
	readonly residual?: Value;
	readonly out: Value;
}

/**
 * softmax(q·kᵀ·scale)·v per head; heads are slices of the channel axis. lse: `[B, heads, Nq]` log-sum-exp of the scaled scores, f32.
 * Self-attention inside a picture passes q, k, v as `[B, H, W, C]` unreshaped: Nq and Nk are rows per item, not `shape[1]`.
 * causal: query i sees the keys up to i alone (text encoders); Nq = Nk.
 */
export interface AttentionOp {
	readonly type: 'attention';
	readonly q: Value; // [B, Nq, C]
	readonly k: Value; // [B, Nk, C]
	readonly v: Value; // [B, Nk, C]
	readonly heads: number;
	readonly scale: number;
	readonly causal?: true;
	readonly out: Value;
	readonly lse: Value;
}
export interface AttentionGradOp {
	readonly type: 'attentionGrad';
	readonly q: Value;
	readonly k: Value;
	readonly v: Value;
	readonly o: Value;
	readonly lse: Value;
	readonly dout: Value;
	readonly heads: number;
	readonly scale: number;
	readonly causal?: true;
	readonly dq: Value;
	readonly dk: Value;
	readonly dv: Value;
}

/** x `[.., 2C]` = [value | gate] → value · gelu_erf(gate) `[.., C]`. */
export interface GegluOp {
	readonly type: 'geglu';
	readonly x: Value;
	readonly out: Value;
}
export interface GegluGradOp {
	readonly type: 'gegluGrad';
	readonly x: Value;
	readonly dy: Value;
	readonly out: Value;
}

/** x·Φ(x), Φ the standard normal distribution function (not the tanh approximation). */
export interface GeluOp {
	readonly type: 'gelu';
	readonly x: Value;
	readonly out: Value;
}
export interface GeluGradOp {
	readonly type: 'geluGrad';
	readonly x: Value;
	readonly dy: Value;
	readonly out: Value;
}

export interface SiluOp {
	readonly type: 'silu';
	readonly x: Value;
	readonly out: Value;
}
export interface SiluGradOp {
	readonly type: 'siluGrad';
	readonly x: Value;
	readonly dy: Value;
	readonly out: Value;
}

export interface AddOp {
	readonly type: 'add';
	readonly a: Value;
	readonly b: Value;
	readonly out: Value;
}

/** a ∘ b, element by element. */
export interface MultiplyOp {
	readonly type: 'multiply';
	readonly a: Value;
	readonly b: Value;
	readonly out: Value;
}

/** x · scale. */
export interface ScaleOp {
	readonly type: 'scale';
	readonly x: Value;
	readonly scale: Scale;
	readonly out: Value;
}

/** Along channels, in the given order. */
export interface ConcatOp {
	readonly type: 'concat';
	readonly parts: readonly Value[];
	readonly out: Value;
}
/** Channels `[start, start + out.C)`; the gradient of concat. */
export interface SliceOp {
	readonly type: 'slice';
	readonly x: Value;
	readonly start: number;
	readonly out: Value;
}

/** Nearest ×2 of `[B, H, W, C]`, and its gradient, the sum over 2×2 pixels. */
export interface Upsample2xOp {
	readonly type: 'upsample2x';
	readonly x: Value;
	readonly out: Value;
}
export interface SumPool2x2Op {
	readonly type: 'sumPool2x2';
	readonly x: Value;
	readonly out: Value;
}

/** `[B, rows, C]` → `[B, C]`, the gradient of a rowBias. */
export interface RowSumOp {
	readonly type: 'rowSum';
	readonly x: Value;
	readonly out: Value;
}

/** t `[B]` → `[B, dim]` = [cos(t·f) | sin(t·f)], f_i = exp(-ln(10000)·i/half). */
export interface SinusoidOp {
	readonly type: 'sinusoid';
	readonly t: Value;
	readonly out: Value;
}

/**
 * Standard normal numbers by Philox 4×32-10 as WebUI's "NV" generator draws them: element i of item b (i counted in `[C, H, W]`
 * order though stored `[H, W, C]`) uses counter (offset + b, 0, i, 0) and key (seed low, seed high). `counter` is an input u32 `[4]`:
 * offset, 0, seed low, seed high.
 */
export interface GaussianOp {
	readonly type: 'gaussian';
	readonly counter: Value;
	readonly out: Value; // [B, H, W, C]
}

/** x_t = coef[b,0]·x0 + coef[b,1]·noise. x0 may have batch 1 (repeated) or B. */
export interface NoisedOp {
	readonly type: 'noised';
	readonly x0: Value;
	readonly noise: Value;
	readonly coef: Value; // [B, 2] f32 input
	readonly out: Value;
}

/** loss[b] = weight[b] · mean over the item of mask · f(pred - target); out `[B]` f32. The training loss is the mean over B. */
export interface LossOp {
	readonly type: 'loss';
	readonly kind: 'mse' | 'l1' | 'smoothL1';
	readonly pred: Value;
	readonly target: Value;
	readonly weight: Value; // [B] f32 input
	readonly mask?: Value; // [B, h, w] f32: one number for each pixel of four channels; absent: 1
	readonly out: Value;
}
/** d(lossScale · mean_b loss[b]) / d pred. */
export interface LossGradOp {
	readonly type: 'lossGrad';
	readonly kind: 'mse' | 'l1' | 'smoothL1';
	readonly pred: Value;
	readonly target: Value;
	readonly weight: Value;
	readonly mask?: Value;
	readonly scale: Scale;
	readonly out: Value;
}

/**
 * Mean and sum of squared differences per group of channels over rows of a picture that is kept in strips, continued from the strips before: `[groups, 4]` f32 = (mean, Σ(x − mean)², count, 0).
 * x `[1, R, W, C]`; `skip` rows at its top and bottom do not count.
 */
export interface MomentsOp {
	readonly type: 'moments';
	readonly x: Value;
	readonly skip: readonly [number, number];
	readonly groups: number;
	readonly before?: Value;
	readonly out: Value;
}

/** Rows `[from, from + rows)` of a part go to rows `[to, to + rows)` of the window. */
export interface RowSpan {
	readonly from: number;
	readonly to: number;
	readonly rows: number;
}

/**
 * Rows gathered from strips, out `[1, R, W, C]`: span i takes rows of part i, rows that no span covers are 0 (what a convolution sees beyond a picture's edge).
 * With `moments` (then also gamma and beta) they are normalised like `groupNorm`, then SiLU when asked.
 */
export interface WindowOp {
	readonly type: 'window';
	readonly parts: readonly Value[];
	readonly spans: readonly RowSpan[];
	readonly moments?: Value;
	readonly gamma?: Value;
	readonly beta?: Value;
	readonly eps: number;
	readonly silu: boolean;
	readonly out: Value;
}

/** What a 3×3 convolution of stride 2 with zeros only on the right sees: x `[1, 2R + 1, W, C]` → `[1, R, W/2, 9·C]`, columns (ky, kx, c). */
export interface PatchesOp {
	readonly type: 'patches';
	readonly x: Value;
	readonly out: Value;
}

/** Along the last axis over its first `valid` numbers; the others become 0. */
export interface SoftmaxOp {
	readonly type: 'softmax';
	readonly x: Value;
	readonly valid: number;
	readonly out: Value;
}

/** Changes only the storage type. */
export interface CastOp {
	readonly type: 'cast';
	readonly x: Value;
	readonly out: Value;
}

export type Op =
	| GemmOp
	| GroupNormOp
	| GroupNormGradOp
	| LayerNormOp
	| LayerNormGradOp
	| AttentionOp
	| AttentionGradOp
	| GegluOp
	| GegluGradOp
	| GeluOp
	| GeluGradOp
	| SiluOp
	| SiluGradOp
	| AddOp
	| MultiplyOp
	| ScaleOp
	| ConcatOp
	| SliceOp
	| Upsample2xOp
	| SumPool2x2Op
	| RowSumOp
	| SinusoidOp
	| GaussianOp
	| NoisedOp
	| LossOp
	| LossGradOp
	| MomentsOp
	| WindowOp
	| PatchesOp
	| SoftmaxOp
	| CastOp;

export type OpType = Op['type'];

/** A graph is its operations in execution order, the named scalars it reads, and the values the caller wants kept. */
export interface Graph {
	readonly values: Value[];
	readonly ops: Op[];
	readonly scalars: ScalarRef[];
	/** Values that must still hold their contents when the program has run (loss, prediction, gradients). */
	readonly outputs: Value[];
}
