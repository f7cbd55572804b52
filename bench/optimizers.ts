/** What one step of each optimizer costs beside Lion's, and what it remembers: over the factors of the mini model's copier, gradients given. */
import type { Gpu } from '../src/gpu/gpu';
import type { OpenModel } from '../src/jobs/model';
import { FactorStore } from '../src/kernels/factors';
import { createOptimizer } from '../src/kernels/optimizer';
import { factorMemory } from '../src/kernels/optimizer-state';
import { defaultRecipe } from '../src/recipe/defaults';
import { defaultOptimizer, OPTIMIZER_KINDS } from '../src/recipe/optimizers';
import type { OptimizerSettings } from '../src/recipe/optimizers';
import { factorEntries } from '../src/training/network';
import { networkPlan } from '../src/training/run-kit';

export interface OptimizerCost {
	name: string;
	ms: number;
	/** To Lion. */
	ratio: number;
	/** Bytes remembered per number of the LoRA as stored, and bytes of tables and sums beside. */
	stateBytes: number;
	scratchBytes: number;
}

const LEAST_MS = 60;
const TAKES = 12;

/** The shortest of a few takes: other work on the machine only ever adds. */
async function stepTime(gpu: Gpu, store: FactorStore, settings: OptimizerSettings): Promise<number> {
	const optimizer = await createOptimizer(gpu, store, settings);
	const idle = (): Promise<undefined> => gpu.device.queue.onSubmittedWorkDone();
	const take = async (steps: number): Promise<number> => {
		const start = performance.now();
		for (let i = 0; i < steps; i++) optimizer.run({ learningRate: 1e-4, lossScale: 1 });
		await idle();
		return performance.now() - start;
	};
	await take(2);
	const steps = Math.max(2, Math.ceil(LEAST_MS / (await take(1))));
	let best = Infinity;
	for (let i = 0; i < TAKES; i++) best = Math.min(best, (await take(steps)) / steps);
	optimizer.destroy();
	return best;
}

export async function measureOptimizers(gpu: Gpu, model: OpenModel, onProgress: (label: string) => void): Promise<OptimizerCost[]> {
	const entries = factorEntries(networkPlan(model.checkpoint.config, defaultRecipe('mini'), 'copier'));
	const eight = (['lion', 'adamw'] as const).map((kind) => ({ name: `${kind}, 8 bit`, settings: { ...defaultOptimizer(kind), stateBits: 8 as const } }));
	const all: { name: string; settings: OptimizerSettings }[] = [...OPTIMIZER_KINDS.map((kind) => ({ name: kind, settings: defaultOptimizer(kind) })), ...eight];
	const costs: Omit<OptimizerCost, 'ratio'>[] = [];
	for (const { name, settings } of all) {
		onProgress(`optimizer: ${name}`);
		const store = await new FactorStore(gpu, entries, { trainable: true, optimizer: settings }).ready();
		// Every number moves and none is special; values do not matter for the time.
		const numbers = Float32Array.from({ length: store.elements }, (_, i) => ((i * 7919) % 1009) / 504.5 - 1);
		for (const buffer of store.buffers.slice(0, 2)) gpu.device.queue.writeBuffer(buffer, 0, numbers);
		const { values, training, scratch } = factorMemory(entries, settings);
		const ms = await stepTime(gpu, store, settings);
		costs.push({ name, ms, stateBytes: (4 * (training - values)) / values, scratchBytes: scratch });
		store.destroy();
	}
	const lion = costs.find(({ name }) => name === 'lion')?.ms ?? NaN;
	return costs.map((cost) => ({ ...cost, ratio: cost.ms / lion }));
}
