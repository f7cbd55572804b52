/**
 * Optimizer steps over a network's flat buffers, entirely on the GPU.
 *
 * Rules
 * - Gradients are first searched for infinities and NaNs; if there is one, the step changes nothing but a counter, without the host being asked. What depends on the number of steps
 *   (bias correction and the like) is computed on the GPU from the steps really made.
 * - All an optimizer remembers lies in the `FactorStore`'s state buffers, counters included: save and restore it with `readState` and `writeState` there.
 * - Sums are added up in a fixed order: the same gradients give the same bits.
 */
import { readBuffer } from '../gpu/buffers';
import type { Gpu } from '../gpu/gpu';
import type { OptimizerSettings } from '../recipe/optimizers';
import type { FactorStore } from './factors';
import { Commands, reads, writes } from './optimizer-commands';
import { addElementwise } from './optimizer-elementwise';
import { addFactored } from './optimizer-factored';
import { packStep } from './optimizer-params';
import type { OptimizerStep } from './optimizer-params';

export interface Optimizer {
	/** GPU memory beside the factor store's: tables and partial sums. */
	readonly bytes: number;
	/** Enqueues one step; returns at once. */
	run(step: OptimizerStep): void;
	/** Steps skipped so far because a gradient was not finite; part of the saved state. */
	skipped(): Promise<number>;
	/**
	 * Schedule-free training takes gradients at other weights than the ones it makes. true: the store's values become those to look at, save and use; false: the very same training weights come
	 * back. Neither a step nor `readState` is possible in between, and the gradients are lost. Other optimizers have one set of weights; nothing happens.
	 */
	evaluation(on: boolean): void;
	destroy(): void;
}

/** Only for factors made for the same optimizer. @throws GpuError when its tables do not fit */
export async function createOptimizer(gpu: Gpu, factors: FactorStore, settings: OptimizerSettings): Promise<Optimizer> {
	await factors.ready();
	if (JSON.stringify(factors.optimizer) !== JSON.stringify(settings)) {
		throw new Error(`The factors were made for ${factors.optimizer?.kind ?? 'no optimizer'} or other settings of it, not for ${settings.kind}.`);
	}
	const commands = new Commands(gpu, factors);
	const { values, gradients, status } = commands;
	for (const range of commands.ranges) {
		const extent = { quads: range.size / 16, first: 0, count: 0 };
		await commands.add({ shader: 'gradient_check' }, [reads(gradients, range)], extent, commands.groupsFor(extent.quads));
	}
	if (settings.kind === 'adafactor' || settings.kind === 'came') await addFactored(commands, settings);
	else await addElementwise(commands, settings);
	await commands.seal();
	const average = settings.kind === 'scheduleFreeAdamW' ? await averaging(commands, settings) : undefined;
	let showing = false;
	return {
		bytes: commands.bytes + (average?.bytes ?? 0),
		run(step) {
			if (showing) throw new Error('The averaged weights are in place; call evaluation(false) before the next step.');
			commands.write(packStep(settings, step, commands.extents));
			const encoder = gpu.device.createCommandEncoder({ label: 'optimizer' });
			encoder.clearBuffer(status, 0, 4);
			commands.encode(encoder);
			gpu.device.queue.submit([encoder.finish()]);
		},
		async skipped() {
			return new Uint32Array(await readBuffer(gpu, status, 4, 4))[0] ?? 0;
		},
		evaluation(on) {
			if (!average || on === showing) return;
			const encoder = gpu.device.createCommandEncoder({ label: 'averaged weights' });
			if (on) {
				encoder.copyBufferToBuffer(values, 0, gradients, 0, factors.elements * 4);
				average.encode(encoder);
			} else encoder.copyBufferToBuffer(gradients, 0, values, 0, factors.elements * 4);
			gpu.device.queue.submit([encoder.finish()]);
			showing = on;
			factors.aside = on;
		},
		destroy() {
			commands.destroy();
			average?.destroy();
		}
	};
}

async function averaging({ gpu, factors, ranges }: Commands, settings: OptimizerSettings): Promise<Commands> {
	const commands = new Commands(gpu, factors);
	for (const range of ranges) {
		const extent = { quads: range.size / 16, first: 0, count: 0 };
		const bound = [writes(commands.values, range), writes(factors.stateBuffer('z'), range)];
		await commands.add({ shader: 'optimizer_average' }, bound, extent, commands.groupsFor(extent.quads));
	}
	await commands.seal();
	commands.write(packStep(settings, { learningRate: 0, lossScale: 1 }, commands.extents));
	return commands;
}
