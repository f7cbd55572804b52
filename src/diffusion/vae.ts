/** The VAE on the CPU: in f32 and strip by strip (`strips.ts`), so that a picture of 1024² and more fits any computer's memory. */
import type { Checkpoint } from './checkpoint';
import { StripNetwork, WorkCounter, type StripLimits } from './strips';
import { vaeOf, type Vae } from './vae-network';

/** Weights are read when they are needed. @param limits of memory; the results do not depend on them */
export function openVae({ file: own, vaeFile, config: { vae: config } }: Checkpoint, limits?: StripLimits): Vae {
	const file = vaeFile ?? own;
	const net = new StripNetwork(file, config.prefix, limits);
	return vaeOf(config, {
		async run(network, input, onProgress) {
			const work = new WorkCounter(file, config.prefix);
			await network(work, config, { ...input, data: new Float32Array(0) });
			let done = 0;
			net.onWork = (multiplications) => onProgress?.((done += multiplications) / work.total);
			return network(net, config, input);
		},
		close: () => net.close()
	});
}
