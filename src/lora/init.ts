/**
 * A fresh network: down uniform in ±1/√fan-in, up zero, so that it changes nothing before the first step.
 * Source: Kaiming-uniform with a = √5, what PyTorch does for Linear and Conv2d and every LoRA trainer with it (fan-in is `in·kh·kw`).
 * LoHa: its first pair is normal with deviation 1 (down) and 0.1 (up), of the second down is normal and up zero (LyCORIS).
 * The numbers depend on the seed and on the module's place in the list alone, and are the same on every machine.
 */
import { downColumns } from './modules';
import type { NetworkModule } from './modules';
import { UniformStream } from './random';

/** Keeps these numbers apart from the timesteps drawn from the same seed. */
const STREAM = 0x6c6f7261;

export interface Factors {
	/** `[rank, K]`; 3×3: K = (ky, kx, in). */
	readonly down: Float32Array;
	/** `[out, rank]` */
	readonly up: Float32Array;
	/** Of LoHa modules: the second pair, of the same shapes. */
	readonly second?: { readonly down: Float32Array; readonly up: Float32Array };
}

/** Normal numbers from uniform ones (Box–Muller); `key` keeps streams apart. */
function normal(count: number, deviation: number, seed: number, key: readonly [number, number]): Float32Array {
	const uniform = new UniformStream(seed, key).take(0, 2 * count);
	return Float32Array.from({ length: count }, (_, i) => {
		const [u, v] = [uniform[2 * i] ?? 0, uniform[2 * i + 1] ?? 0];
		return deviation * Math.sqrt(-2 * Math.log(1 - u)) * Math.cos(2 * Math.PI * v);
	});
}

/** Factors of the module at `index` of the network. */
export function initialFactors(module: NetworkModule, index: number, seed: number): Factors {
	const columns = downColumns(module);
	if (module.loha) {
		const down = (part: number) => normal(module.rank * columns, 1, seed, [index, STREAM + part]);
		const size = module.outFeatures * module.rank;
		return { down: down(1), up: normal(size, 0.1, seed, [index, STREAM + 2]), second: { down: down(3), up: new Float32Array(size) } };
	}
	const bound = 1 / Math.sqrt(columns);
	const uniform = new UniformStream(seed, [index, STREAM]).take(0, module.rank * columns);
	const down = new Float32Array(uniform.length);
	for (let i = 0; i < down.length; i++) down[i] = (2 * (uniform[i] ?? 0) - 1) * bound;
	return { down, up: new Float32Array(module.outFeatures * module.rank) };
}
