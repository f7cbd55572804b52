/** One forward pass of a full-size UNet as previews make it. */
import { compile } from '../../src/kernels/program';
import { buildForward } from '../../src/training/sample';
import type { Bed } from './bed';
import { numbers, product, profiled } from './case';
import type { Case, Profile } from './case';
import { keepPace } from './clock';

export interface ForwardResult {
	readonly batch: number;
	readonly msForward: number;
	readonly msBest: number;
	/** Of the recording thread, for one pass. */
	readonly msRecording: number;
	readonly tflop: number;
	readonly tflops: number;
	readonly dispatches: number;
	readonly bytes: number;
	readonly secondsCompile: number;
	/** Whether every number of the prediction is finite. */
	readonly finite: boolean;
	readonly profile?: Profile;
}

/** The bare UNet, as it samples. */
export async function measureForward({ gpu, recording, unet, weights }: Bed, given: Case): Promise<ForwardResult> {
	const { batch, size } = given;
	const before = performance.now();
	const { graph, inputs, prediction } = buildForward(unet, { height: size / 8, width: size / 8, storage: weights.storage }, batch, []);
	const program = await compile(gpu, graph, { weights, factors: [], label: 'forward' });
	const secondsCompile = (performance.now() - before) / 1000;
	try {
		program.write(inputs.latent, numbers(product(inputs.latent.shape)));
		program.write(inputs.context, numbers(product(inputs.context.shape)));
		if (inputs.vector) program.write(inputs.vector, numbers(product(inputs.vector.shape)));
		program.write(inputs.t, new Float32Array(batch).fill(500));
		const pace = await keepPace(gpu.device.queue, recording, () => program.run(), given.steps);
		const { flops, dispatches, allocatedBytes } = program.summary;
		await program.idle();
		return {
			batch,
			msForward: pace.ms,
			msBest: pace.best,
			msRecording: pace.recording.encoding + pace.recording.submitting + pace.recording.writing,
			tflop: flops / 1e12,
			tflops: flops / pace.ms / 1e9,
			dispatches,
			bytes: allocatedBytes,
			secondsCompile,
			finite: (await program.read(prediction)).every(Number.isFinite),
			...(given.profile ? { profile: await profiled(program, {}) } : {})
		};
	} finally {
		program.destroy();
	}
}
