/**
 * The programs of a pass on the GPU, fitted to its memory (`fit.ts`). When the GPU has less room than was planned for, they are planned smaller and tried again: other programs may hold
 * memory that nobody can see from here.
 */
import { formatBytes } from '../gpu/buffers';
import { GpuError } from '../gpu/gpu';
import type { Gpu } from '../gpu/gpu';
import { Arenas } from '../kernels/arenas';
import type { FactorStore } from '../kernels/factors';
import { machineOf } from '../kernels/plan-program';
import { compilePlan } from '../kernels/program';
import type { Program } from '../kernels/program';
import { asStored } from '../kernels/stored';
import type { WeightStore } from '../kernels/weights';
import type { TrainingProblem } from './events';
import { fitPass } from './fit';
import type { Guests, PassFit, PassGraphs } from './fit';

export interface ProgramsOptions {
	readonly gpu: Gpu;
	readonly weights: WeightStore;
	readonly factors: readonly FactorStore[];
	readonly graphs: PassGraphs;
	/** What the pass holds already. */
	readonly otherBytes: number;
	readonly limit: number | undefined;
	/** What runs in the arenas between steps. */
	readonly guests?: Guests | undefined;
	readonly label: string;
	readonly onProgress: (fraction: number) => void;
	readonly warn: (problem: TrainingProblem) => void;
}

export interface PassPrograms {
	/** One for each step, in their order. */
	readonly steps: readonly Program[];
	/** Also for the observer. */
	readonly arenas: Arenas;
	readonly fit: PassFit;
	/** Of arenas and steps, without the observer's. */
	readonly allocatedBytes: number;
	destroy(): void;
}

async function allocate({ gpu, weights, factors, label, onProgress }: ProgramsOptions, fit: PassFit): Promise<PassPrograms> {
	const arenas = await Arenas.create(gpu, label, fit.arenas);
	const steps: Program[] = [];
	const destroy = (): void => {
		steps.forEach((program) => program.destroy());
		arenas.destroy();
	};
	try {
		for (const [i, plan] of fit.steps.entries()) {
			const report = (done: number, total: number): void => onProgress((i + done / total) / fit.steps.length);
			steps.push(await compilePlan(gpu, plan, { weights, factors, label, arenas, onProgress: report }));
		}
		const allocatedBytes = steps.reduce((sum, { summary }) => sum + summary.allocatedBytes, arenas.bytes);
		return { steps, arenas, fit, allocatedBytes, destroy };
	} catch (cause) {
		destroy();
		throw cause;
	}
}

/** How much smaller the next try is. */
const SMALLER = 0.8;

function reduced(before: PassFit, after: PassFit): TrainingProblem {
	const values = { planned: formatBytes(before.totalBytes), now: formatBytes(after.totalBytes), slower: Math.round(100 * (after.workRatio - 1)) };
	return {
		level: 'warning',
		code: 'gpu.memoryReduced',
		where: 'gpu',
		values,
		message: `The GPU had no room for ${values.planned}, so more is computed twice: ${values.now} now, ${values.slower} % more work. Closing other programs that use the GPU gives it back.`
	};
}

/** @throws GpuError 'memory' when the smallest plan does not fit either */
export async function openPrograms(options: ProgramsOptions): Promise<PassPrograms> {
	const { gpu, weights, graphs, otherBytes, guests } = options;
	const plan = (limit: number | undefined): Promise<PassFit> =>
		fitPass(graphs, { machine: machineOf(gpu), stored: (graph) => asStored(graph, weights), otherBytes, limit, guests });
	let fit = await plan(options.limit);
	for (;;) {
		try {
			return await allocate(options, fit);
		} catch (cause) {
			if (!(cause instanceof GpuError && cause.code === 'memory')) throw cause;
			const smaller = await plan(otherBytes + fit.smallBytes + fit.arenaBytes * SMALLER);
			if (smaller.arenaBytes >= fit.arenaBytes * 0.98) throw cause;
			options.warn(reduced(fit, smaller));
			fit = smaller;
		}
	}
}
