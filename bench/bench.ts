/** Everything `utsushi bench` measures, as one document. */
import { version } from '../package.json';
import type { Gpu } from '../src/gpu/gpu';
import type { OpenModel } from '../src/jobs/model';
import { measureOptimizers, type OptimizerCost } from './optimizers';
import { measureRates, type Rate } from './rates';
import { measureStep, type StepReport } from './step';

export interface BenchReport {
	utsushi: string;
	adapter: { vendor: string; architecture: string; description: string; software: boolean; f16: boolean; subgroups: boolean; timestamps: boolean };
	storage: 'f32' | 'f16';
	rates: Rate[];
	step: StepReport;
	optimizers: OptimizerCost[];
}

export async function runBench(gpu: Gpu, model: OpenModel, storage: 'f32' | 'f16', onProgress: (label: string) => void): Promise<BenchReport> {
	const { vendor, architecture, description, software } = gpu.adapter;
	// The step first: should the GPU not have the memory for the large shapes, this is what matters more.
	const step = await measureStep(gpu, model, storage, onProgress);
	const optimizers = await measureOptimizers(gpu, model, onProgress);
	const rates = await measureRates(gpu, storage, onProgress);
	const { f16, subgroups, timestamps } = gpu;
	return { utsushi: version, adapter: { vendor, architecture, description, software, f16, subgroups, timestamps }, storage, rates, step, optimizers };
}

const megabytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MB`;
const milliseconds = (ms: number): string => `${ms < 10 ? ms.toFixed(2) : ms.toFixed(0)} ms`;

function rateLine({ kind, label, shape, ms, gflops, shader }: Rate): string {
	const size = Object.values(shape).join('×');
	const result =
		ms === null || gflops === null
			? 'not measured (too slow here, or shorter than the clock can tell)'
			: `${milliseconds(ms).padStart(9)} ${gflops.toFixed(gflops < 100 ? 1 : 0).padStart(8)} GFLOP/s  ${shader ?? ''}`;
	return `  ${kind.padEnd(5)}${label.padEnd(34)}${size.padEnd(18)}${result}`;
}

/** The report as a table for people. */
export function benchText({ adapter, rates, step, optimizers, storage }: BenchReport): string {
	const features = [adapter.f16 ? 'shader-f16' : 'no shader-f16', adapter.subgroups ? 'subgroups' : 'no subgroups'].join(', ');
	const lines = [
		`${adapter.description || `${adapter.vendor} ${adapter.architecture}`}${adapter.software ? ' (software)' : ''}: ${features}; storage ${storage}`,
		'',
		`Training step of the mini model (rank ${step.rank}, batch ${step.batch}, ${step.optimizer}): ${milliseconds(step.stepMs)}`,
		`  recording on the CPU ${milliseconds(step.encodeMs)} (${(100 * step.encodeShare).toFixed(1)} % of the step), ${step.dispatches} dispatches, ${step.pipelines} pipelines`,
		`  optimizer ${milliseconds(step.optimizerMs)} of it`,
		`  graph ${milliseconds(step.graphMs)}, plan and compile ${milliseconds(step.compileMs)}`,
		`  memory planned ${megabytes(step.plannedBytes)}, allocated ${megabytes(step.allocatedBytes)}; weights ${megabytes(step.weightBytes)}`,
		...step.families.map(
			({ family, dispatches, ms, share, gflops }) =>
				`  ${family.padEnd(12)}${String(dispatches).padStart(5)} dispatches ${milliseconds(ms).padStart(9)} ${(100 * share).toFixed(1).padStart(5)} %${gflops > 0 ? `  ${gflops.toFixed(1)} GFLOP/s` : ''}`
		),
		'',
		'A step of each optimizer over the same LoRA',
		...optimizers.map(
			({ name, ms, ratio, stateBytes }) =>
				`  ${name.padEnd(20)}${milliseconds(ms).padStart(9)}  ${ratio.toFixed(2).padStart(5)} × Lion  ${stateBytes.toFixed(2).padStart(6)} bytes remembered per number`
		),
		'',
		'Rates',
		...rates.map(rateLine)
	];
	return `${lines.join('\n')}\n`;
}
