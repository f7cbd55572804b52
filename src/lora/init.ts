/**
 * A fresh network: down uniform in ±1/√fan-in, up zero, so that it changes nothing before the first step.
 * Source: Kaiming-uniform with a = √5, what PyTorch does for Linear and Conv2d and every LoRA trainer with it (fan-in is `in·kh·kw`).
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
}

/** Factors of the module at `index` of the network. */
export function initialFactors(module: NetworkModule, index: number, seed: number): Factors {
	const columns = downColumns(module);
	const bound = 1 / Math.sqrt(columns);
	const uniform = new UniformStream(seed, [index, STREAM]).take(0, module.rank * columns);
	return { down: Float32Array.from(uniform, (u) => (2 * u - 1) * bound), up: new Float32Array(module.outFeatures * module.rank) };
}
