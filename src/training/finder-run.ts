/**
 * The learning-rate finder's run: a throw-away network is trained with the run's own objective while the rate grows exponentially. Nothing of it is kept.
 *
 * Rules
 * - The same few draws (timesteps and noises) come round again and again, and every loss is divided by that of its draw's first visit, when the rate was next to nothing. So the
 *   curve shows the network and not the luck of the draw, for every objective alike.
 * - Losses come out of the ring a few steps late; the ramp then runs on for as many steps after the break, which is harmless.
 */
import type { Gpu } from '../gpu/gpu';
import { createOptimizer } from '../kernels/optimizer';
import { compile } from '../kernels/program';
import type { Program } from '../kernels/program';
import type { WeightStore } from '../kernels/weights';
import type { PassSettings } from '../recipe/recipe';
import type { TrainingControl } from './events';
import { breakOf, ramp, smoothRatios } from './finder';
import type { RatePoint } from './finder';
import { LossReporter } from './loss-reporter';
import { FIRST_SCALE } from './loss-scale';
import { freshNetwork } from './network';
import type { NetworkPlan } from './network';
import type { Objective } from './objective';

export interface FinderOptions {
	readonly gpu: Gpu;
	readonly weights: WeightStore;
	readonly settings: PassSettings;
	/** Not -1. */
	readonly seed: number;
	readonly objective: Objective;
	readonly plan: NetworkPlan;
	readonly low: number;
	readonly high: number;
	readonly steps: number;
	readonly control: TrainingControl;
	readonly compiling: (fraction: number) => void;
	/** Every point so far, whenever there are new ones. */
	readonly onPoints: (points: readonly RatePoint[]) => void;
}

/** So many draws come round. */
const DRAWS = 8;
/** Steps between two readings. */
const READ_EVERY = 4;

/** Runs the ramp to its end, to where the network breaks, or to a stop. @throws GpuError */
export async function runRamp(options: FinderOptions): Promise<readonly RatePoint[]> {
	const { gpu, settings, objective, plan, weights, seed } = options;
	const cleanup: (() => void)[] = [];
	try {
		const network = await freshNetwork(gpu, plan, settings.optimizer, seed);
		cleanup.push(() => network.store.destroy());
		const programs: Program[] = [];
		for (const [i, { graph, gradients, loss }] of objective.shapes.entries()) {
			const program = await compile(gpu, graph, {
				weights,
				factors: [network.store],
				gradients,
				history: [loss],
				label: 'finder',
				onProgress: (done, total) => options.compiling((i + done / total) / objective.shapes.length)
			});
			cleanup.push(() => program.destroy());
			programs.push(program);
		}
		const optimizer = await createOptimizer(gpu, network.store, settings.optimizer);
		cleanup.push(() => optimizer.destroy());
		const reporter = new LossReporter({ pass: 'copier', emit: () => undefined, settings, objective, later: [], rateAt: () => 0 }, programs);
		programs.forEach((program, shape) => objective.begin(program, shape));
		return await climb(options, programs, optimizer, reporter);
	} finally {
		for (const free of cleanup.reverse()) free();
	}
}

async function climb(
	{ objective, weights, low, high, steps, control, onPoints }: FinderOptions,
	programs: readonly Program[],
	optimizer: Awaited<ReturnType<typeof createOptimizer>>,
	reporter: LossReporter
): Promise<readonly RatePoint[]> {
	const rates = ramp(low, high, steps);
	const lossScale = weights.storage === 'f16' ? FIRST_SCALE : 1;
	let points: RatePoint[] = [];
	const gather = (losses: readonly number[]): void => {
		points = losses.map((loss, k) => ({ rate: rates[k] ?? high, ratio: loss / (losses[k % DRAWS] ?? NaN) }));
		onPoints(points);
	};
	for (let k = 0; k < steps && control.request === null; k++) {
		const { shape, scalars } = objective.write(k % DRAWS, programs);
		await programs[shape]?.run({ ...scalars, lossScale });
		reporter.ran(shape);
		optimizer.run({ learningRate: rates[k] ?? high, lossScale });
		if ((k + 1) % READ_EVERY !== 0) continue;
		gather(await reporter.known(k + 1 - READ_EVERY));
		if (breakOf(smoothRatios(points)) !== -1) break;
		reporter.ask();
	}
	await reporter.flush();
	gather(reporter.losses);
	return points;
}
