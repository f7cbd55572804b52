/**
 * Runs a graph on the GPU with given feeds, for tests of kernels: one call per graph, values in and values out.
 *
 * `feeds` holds every input, constant and parameter the graph reads. `openTestGpu` caches devices by options; the default adapter is whatever
 * Dawn finds (lavapipe on machines without a GPU). `nullGpu` validates shaders and executes nothing.
 */
import { openGpu, type Gpu, type OpenOptions } from '../../src/gpu/gpu';
import { CHECKED_FLAGS, dawn } from '../../src/gpu/node';
import type { Graph, Value } from '../../src/graph/ir';
import { FactorStore } from '../../src/kernels/factors';
import { compile, type CompileOptions, type Program } from '../../src/kernels/program';
import { WeightStore } from '../../src/kernels/weights';

export type Feed = Float32Array | Uint32Array;

const gpus = new Map<string, Promise<Gpu>>();

export function openTestGpu(options: OpenOptions = {}): Promise<Gpu> {
	return cached(`real ${JSON.stringify(options)}`, async () => openGpu(await dawn(), options));
}

export function nullGpu(options: OpenOptions = {}): Promise<Gpu> {
	return cached(`null ${JSON.stringify(options)}`, async () => openGpu(await dawn([...CHECKED_FLAGS, 'backend=null']), options));
}

function cached(key: string, open: () => Promise<Gpu>): Promise<Gpu> {
	let gpu = gpus.get(key);
	if (!gpu) {
		gpu = open();
		gpus.set(key, gpu);
	}
	return gpu;
}

export interface Bench {
	readonly program: Program;
	readonly weights: WeightStore;
	readonly factors: FactorStore;
	destroy(): void;
}

/** Stores filled from the feeds, the program compiled, the inputs written. */
export async function prepareGraph(
	gpu: Gpu,
	graph: Graph,
	feeds: ReadonlyMap<Value, Feed>,
	extra: Pick<CompileOptions, 'gradients' | 'history' | 'lower'> = {}
): Promise<Bench> {
	const constants = [...feeds].filter(([value]) => value.kind === 'constant');
	const parameters = [...feeds].filter(([value]) => value.kind === 'parameter');
	const weights = new WeightStore(gpu, constants.some(([value]) => value.dtype === 'f16') ? 'f16' : 'f32');
	for (const [value, data] of constants) await weights.add(value.name, value.shape, new Float32Array(data));
	const factors = new FactorStore(
		gpu,
		parameters.map(([value]) => ({ name: value.name, shape: value.shape })),
		{ trainable: true }
	);
	await factors.ready();
	for (const [value, data] of parameters) await factors.write(value.name, new Float32Array(data));
	const program = await compile(gpu, graph, { weights, factors: [factors], ...extra });
	for (const [value, data] of feeds) if (value.kind === 'input') program.write(value, data);
	return {
		program,
		weights,
		factors,
		destroy() {
			program.destroy();
			weights.destroy();
			factors.destroy();
		}
	};
}

/** One run; returns the graph's outputs. */
export async function runGraph(
	gpu: Gpu,
	graph: Graph,
	feeds: ReadonlyMap<Value, Feed>,
	scalars: Readonly<Record<string, number>> = {}
): Promise<Map<Value, Float32Array>> {
	const bench = await prepareGraph(gpu, graph, feeds);
	try {
		await bench.program.run(scalars);
		const results = new Map<Value, Float32Array>();
		for (const value of graph.outputs) results.set(value, await bench.program.read(value));
		return results;
	} finally {
		bench.destroy();
	}
}

/** Reproducible numbers in about ±1 (sum of four uniforms), for feeds. */
export function randomFloats(count: number, seed: number, scale = 1): Float32Array {
	let state = (seed * 2654435761 + 12345) >>> 0;
	const next = (): number => {
		state ^= state << 13;
		state >>>= 0;
		state ^= state >>> 17;
		state ^= state << 5;
		state >>>= 0;
		return state / 4294967296;
	};
	if (state === 0) state = 1;
	return Float32Array.from({ length: count }, () => (next() + next() + next() + next() - 2) * scale);
}

/** max |a − b| over max |b|: the error in units of the largest expected number. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
	if (actual.length !== expected.length) throw new Error(`${actual.length} numbers instead of ${expected.length}`);
	let worst = 0;
	let scale = 0;
	for (let i = 0; i < expected.length; i++) {
		const difference = Math.abs((actual[i] ?? NaN) - (expected[i] ?? NaN));
		if (!(difference <= worst)) worst = difference;
		if (Number.isNaN(difference)) return NaN;
		scale = Math.max(scale, Math.abs(expected[i] ?? 0));
	}
	return scale === 0 ? worst : worst / scale;
}
