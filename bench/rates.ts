/**
 * How fast the GPU multiplies: each shape class alone, through the same builder, kernels and storage as a run. The best of several
 * repeats counts, because what disturbs a measurement only ever makes it slower. A class that would take too long here (judged by the
 * rates seen so far) is left out and says so.
 */
import type { Gpu } from '../src/gpu/gpu';
import { GraphBuilder } from '../src/graph/builder';
import type { Value } from '../src/graph/ir';
import { compile } from '../src/kernels/program';
import { WeightStore } from '../src/kernels/weights';
import { flopsOf, SHAPES, type Shape } from './shapes';

export interface Rate {
	kind: Shape['kind'];
	label: string;
	shape: Record<string, number>;
	/** null: not measured, because it would have taken too long or less than the clock can tell. */
	ms: number | null;
	gflops: number | null;
	shader: string | null;
}

/** Longest time one repeat may be expected to take. */
const LIMIT_MS = 4000;
const REPEATS = 20;
/** Time spent repeating one shape, as far as one repeat allows. */
const BUDGET_MS = 1500;

function numbers({ kind, label, ...shape }: Shape): { kind: Shape['kind']; label: string; shape: Record<string, number> } {
	return { kind, label, shape };
}

/** Small and not constant: neither zeros that a driver could skip nor numbers that overflow. */
function filled(length: number): Float32Array {
	return Float32Array.from({ length }, (_, i) => (((i * 2654435761) >>> 8) % 1000) / 1000 - 0.5);
}

function build(builder: GraphBuilder, shape: Shape): { x: Value; weight: Value; y: Value } {
	if (shape.kind === 'gemm') {
		const x = builder.input('x', [1, shape.m, shape.k]);
		const weight = builder.constant('weight', [shape.n, shape.k]);
		return { x, weight, y: builder.linear(stored(builder, x), weight) };
	}
	const x = builder.input('x', [1, shape.size, shape.size, shape.channels]);
	const weight = builder.constant('weight', [shape.outChannels, 9 * shape.channels]);
	return { x, weight, y: builder.conv(stored(builder, x), weight) };
}

/** Activations of a run are intermediates in the run's storage, not f32 inputs. */
function stored(builder: GraphBuilder, x: Value): Value {
	return builder.scale(x, { factor: 1 });
}

async function measure(gpu: Gpu, storage: 'f32' | 'f16', shape: Shape): Promise<{ ms: number; shader: string }> {
	const builder = new GraphBuilder({ storage });
	const { x, weight, y } = build(builder, shape);
	const weights = new WeightStore(gpu, storage);
	try {
		await weights.add('weight', weight.shape, filled(weight.shape.reduce((a, b) => a * b, 1)));
		const program = await compile(gpu, builder.finish([y]), { weights, factors: [], label: shape.label });
		try {
			program.write(x, filled(x.shape.reduce((a, b) => a * b, 1)));
			let best = { ms: Infinity, shader: '' };
			let spent = 0;
			for (let i = 0; i < REPEATS && spent < BUDGET_MS; i++) {
				const timings = (await program.profile()).filter(({ flops, family }) => flops > 0 && family !== 'pointwise');
				const ms = timings.reduce((sum, timing) => sum + timing.ms, 0);
				spent += ms;
				if (ms > 0 && ms < best.ms) best = { ms, shader: [...new Set(timings.map(({ shader }) => shader))].join('+') };
			}
			return best;
		} finally {
			program.destroy();
		}
	} finally {
		weights.destroy();
	}
}

export async function measureRates(gpu: Gpu, storage: 'f32' | 'f16', onProgress: (label: string) => void): Promise<Rate[]> {
	const rates: Rate[] = [];
	/** The best rate so far, in FLOP per ms. */
	let speed = 0;
	for (const shape of [...SHAPES].sort((a, b) => flopsOf(a) - flopsOf(b))) {
		if (speed > 0 && flopsOf(shape) / speed > LIMIT_MS) {
			rates.push({ ...numbers(shape), ms: null, gflops: null, shader: null });
			continue;
		}
		onProgress(`${shape.kind} ${shape.label}`);
		const { ms, shader } = await measure(gpu, storage, shape);
		// Clocks too coarse for so short a kernel: no rate rather than a wrong one.
		if (!Number.isFinite(ms)) {
			rates.push({ ...numbers(shape), ms: null, gflops: null, shader: null });
			continue;
		}
		const rate = flopsOf(shape) / ms;
		speed = Math.max(speed, rate);
		rates.push({ ...numbers(shape), ms, gflops: rate / 1e6, shader });
	}
	return rates;
}
