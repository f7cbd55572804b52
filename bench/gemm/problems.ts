/**
 * The products a training step of SD1.5 (512²) and SDXL (1024²) is made of, as single operations: each form (which way the matrices are read, LoRA terms, convolutions) with the sizes
 * that occur there. `count` is how many there are in a step of SDXL with rank 16, roughly, so that sums weigh what matters.
 */
import type { AMode, DType, GemmOp, GemmTerm, Value, ValueKind } from '../../src/graph/ir';

export interface Problem {
	readonly form: string;
	readonly label: string;
	readonly op: GemmOp;
}

type Storage = 'f32' | 'f16';

let ids = 0;

function value(name: string, shape: readonly number[], dtype: DType, kind: ValueKind = 'intermediate'): Value {
	return { id: ids++, name: `${name} ${shape.join('×')}`, shape, dtype, kind };
}

const rows: AMode = { kind: 'rows' };

interface Kind {
	readonly storage: Storage;
	readonly base: 'f16' | 'int8';
}

const weight = ({ storage, base }: Kind, shape: readonly number[]): Value => value('w', shape, base === 'int8' ? 'i8' : storage, 'constant');

/** y = x·Wᵀ (+ hs·Bᵀ), with bias and residual where asked. */
export function linear(kind: Kind, m: number, n: number, k: number, rank = 0, extras = false): Problem {
	const { storage } = kind;
	const terms: GemmTerm[] = [{ a: value('x', [m, k], storage), aMode: rows, b: weight(kind, [n, k]), bMode: { kind: 'nk' }, k }];
	if (rank > 0) terms.push({ a: value('hs', [m, rank], storage), aMode: rows, b: value('up', [n, rank], 'f32', 'parameter'), bMode: { kind: 'nk' }, k: rank });
	const op: GemmOp = {
		type: 'gemm',
		m,
		n,
		terms,
		...(extras ? { bias: value('bias', [n], storage, 'constant'), residual: value('residual', [m, n], storage) } : {}),
		out: value('y', [m, n], storage)
	};
	return { form: rank > 0 ? (extras ? 'linear+lora+residual' : 'linear+lora') : 'linear', label: `${m}×${n}×${k}`, op };
}

/** dx = dy·W (+ g·A). */
export function linearGradient(kind: Kind, m: number, n: number, k: number, rank = 0): Problem {
	const { storage } = kind;
	const terms: GemmTerm[] = [{ a: value('dy', [m, k], storage), aMode: rows, b: weight(kind, [k, n]), bMode: { kind: 'kn' }, k }];
	if (rank > 0) terms.push({ a: value('g', [m, rank], storage), aMode: rows, b: value('down', [rank, n], 'f32', 'parameter'), bMode: { kind: 'kn' }, k: rank });
	return { form: rank > 0 ? 'dx+lora' : 'dx', label: `${m}×${n}×${k}`, op: { type: 'gemm', m, n, terms, out: value('dx', [m, n], storage) } };
}

/** hs = x·Aᵀ, and g = dy·B: a narrow result of a long sum. */
export function narrow({ storage }: Kind, m: number, rank: number, k: number, backwards: boolean): Problem {
	const factor = value(backwards ? 'up' : 'down', backwards ? [k, rank] : [rank, k], 'f32', 'parameter');
	const terms: GemmTerm[] = [{ a: value('x', [m, k], storage), aMode: rows, b: factor, bMode: { kind: backwards ? 'kn' : 'nk' }, k }];
	return { form: backwards ? 'lora g' : 'lora hs', label: `${m}×${rank}×${k}`, op: { type: 'gemm', m, n: rank, terms, out: value('hs', [m, rank], storage) } };
}

/** dA = gᵀ·x `[r, k]` and dB = dyᵀ·hs `[n, r]`, over all rows. */
export function factorGradient({ storage }: Kind, m: number, n: number, k: number): Problem {
	const terms: GemmTerm[] = [{ a: value('l', [k, m], storage), aMode: { kind: 'cols' }, b: value('r', [k, n], storage), bMode: { kind: 'kn' }, k }];
	return { form: m < n ? 'lora dA' : 'lora dB', label: `${m}×${n}×${k}`, op: { type: 'gemm', m, n, terms, out: value('d', [m, n], 'f32') } };
}

export function conv(kind: Kind, size: number, channels: number, outChannels: number, stride: 1 | 2 = 1, upsample = false): Problem {
	const { storage } = kind;
	const inner = upsample ? size / 2 : size;
	const out = stride === 2 ? size / 2 : size;
	const aMode: AMode = { kind: 'conv', stride, upsample, height: inner, width: inner, channels };
	const terms: GemmTerm[] = [
		{ a: value('x', [1, inner, inner, channels], storage), aMode, b: weight(kind, [outChannels, 9 * channels]), bMode: { kind: 'nk' }, k: 9 * channels }
	];
	const op: GemmOp = {
		type: 'gemm',
		m: out * out,
		n: outChannels,
		terms,
		bias: value('bias', [outChannels], storage, 'constant'),
		out: value('y', [1, out, out, outChannels], storage)
	};
	return { form: `conv${stride === 2 ? ' stride 2' : ''}${upsample ? ' upsampled' : ''}`, label: `${size}² ${channels}→${outChannels}`, op };
}

export function convGradient(kind: Kind, size: number, channels: number, outChannels: number, stride: 1 | 2 = 1): Problem {
	const { storage } = kind;
	const out = stride === 2 ? size / 2 : size;
	const terms: GemmTerm[] = [
		{
			a: value('dy', [1, out, out, outChannels], storage),
			aMode: { kind: 'convTransposed', stride, height: size, width: size, channels: outChannels },
			b: weight(kind, [outChannels, 9 * channels]),
			bMode: { kind: 'convWeightTransposed', channels },
			k: 9 * outChannels
		}
	];
	const op: GemmOp = { type: 'gemm', m: size * size, n: channels, terms, out: value('dx', [1, size, size, channels], storage) };
	return { form: `conv dx${stride === 2 ? ' stride 2' : ''}`, label: `${size}² ${channels}←${outChannels}`, op };
}

/** Everything that is swept, the important first. */
export function problems(kind: Kind, set: string): Problem[] {
	if (set === 'tiny') {
		return [
			linear(kind, 128, 128, 192, 16, true),
			linear(kind, 77, 320, 64),
			linearGradient(kind, 100, 136, 128, 4),
			narrow(kind, 128, 16, 320, false),
			narrow(kind, 128, 16, 320, true),
			factorGradient(kind, 16, 320, 256),
			factorGradient(kind, 320, 16, 77),
			conv(kind, 16, 64, 96),
			conv(kind, 16, 32, 64, 2),
			conv(kind, 16, 32, 64, 1, true),
			convGradient(kind, 16, 64, 32),
			convGradient(kind, 16, 64, 32, 2)
		];
	}
	const square = [linear(kind, 4096, 4096, 4096)];
	const sdxl = [
		linear(kind, 4096, 640, 640),
		linear(kind, 4096, 640, 640, 16, true),
		linear(kind, 4096, 5120, 640, 16),
		linear(kind, 4096, 640, 2560, 16, true),
		linear(kind, 1024, 1280, 1280),
		linear(kind, 1024, 1280, 1280, 16, true),
		linear(kind, 1024, 10240, 1280, 16),
		linear(kind, 1024, 1280, 5120, 16, true),
		linear(kind, 77, 1280, 2048, 16),
		linear(kind, 77, 640, 2048, 16),
		linearGradient(kind, 4096, 640, 640, 16),
		linearGradient(kind, 4096, 640, 5120, 16),
		linearGradient(kind, 4096, 2560, 640, 16),
		linearGradient(kind, 1024, 1280, 1280, 16),
		linearGradient(kind, 1024, 1280, 10240, 16),
		linearGradient(kind, 1024, 5120, 1280, 16),
		narrow(kind, 4096, 16, 640, false),
		narrow(kind, 4096, 16, 2560, false),
		narrow(kind, 1024, 16, 1280, false),
		narrow(kind, 1024, 16, 5120, false),
		narrow(kind, 77, 16, 2048, false),
		narrow(kind, 1024, 16, 10240, true),
		narrow(kind, 1024, 16, 1280, true),
		narrow(kind, 4096, 16, 5120, true),
		factorGradient(kind, 16, 640, 4096),
		factorGradient(kind, 640, 16, 4096),
		factorGradient(kind, 16, 1280, 1024),
		factorGradient(kind, 1280, 16, 1024),
		factorGradient(kind, 10240, 16, 1024),
		factorGradient(kind, 16, 5120, 1024),
		factorGradient(kind, 16, 2048, 77),
		conv(kind, 128, 320, 320),
		conv(kind, 128, 640, 320),
		conv(kind, 64, 640, 640),
		conv(kind, 64, 1280, 640),
		conv(kind, 32, 1280, 1280),
		conv(kind, 32, 2560, 1280),
		conv(kind, 128, 320, 320, 2),
		conv(kind, 64, 1280, 1280, 1, true),
		convGradient(kind, 128, 320, 320),
		convGradient(kind, 64, 640, 640),
		convGradient(kind, 32, 1280, 1280),
		convGradient(kind, 128, 320, 320, 2)
	];
	const sd15 = [
		linear(kind, 4096, 320, 320, 16),
		linear(kind, 4096, 2560, 320, 16),
		linear(kind, 256, 1280, 1280, 16),
		linear(kind, 256, 10240, 1280, 16),
		linear(kind, 64, 1280, 1280, 16),
		linearGradient(kind, 4096, 320, 2560, 16),
		linearGradient(kind, 256, 1280, 10240, 16),
		factorGradient(kind, 16, 320, 4096),
		factorGradient(kind, 1280, 16, 256),
		conv(kind, 64, 320, 320),
		conv(kind, 16, 1280, 1280),
		conv(kind, 8, 1280, 1280),
		convGradient(kind, 64, 320, 320),
		convGradient(kind, 16, 1280, 1280)
	];
	/** Those that most of a step's time goes to, for many tiles and slices. */
	const heavy = [
		linear(kind, 1024, 1280, 1280, 16, true),
		linear(kind, 1024, 1280, 5120, 16, true),
		linear(kind, 1024, 10240, 1280, 16),
		linearGradient(kind, 1024, 1280, 1280, 16),
		linearGradient(kind, 1024, 1280, 10240, 16),
		linear(kind, 4096, 640, 640, 16, true),
		linear(kind, 77, 1280, 2048),
		conv(kind, 32, 1280, 1280),
		conv(kind, 64, 640, 640),
		convGradient(kind, 32, 1280, 1280),
		linear(kind, 256, 1280, 1280, 16),
		linear(kind, 1024, 640, 640, 16),
		conv(kind, 16, 1280, 1280),
		conv(kind, 8, 1280, 1280)
	];
	const factors = [
		narrow(kind, 1024, 16, 1280, false),
		narrow(kind, 4096, 16, 640, false),
		narrow(kind, 1024, 16, 1280, true),
		narrow(kind, 1024, 16, 10240, true),
		narrow(kind, 77, 16, 2048, false),
		factorGradient(kind, 16, 1280, 1024),
		factorGradient(kind, 1280, 16, 1024),
		factorGradient(kind, 10240, 16, 1024),
		factorGradient(kind, 16, 640, 4096)
	];
	if (set === 'heavy') return heavy;
	if (set === 'factors') return factors;
	if (set === 'square') return square;
	if (set === 'sdxl') return sdxl;
	if (set === 'sd15') return sd15;
	return [...square, ...sdxl, ...sd15];
}
