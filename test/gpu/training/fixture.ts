/** The gradient fixture of `tools/training/fixtures.py`: one training step of the mini UNet, with factors drawn as the script draws them. */
import { openCheckpoint } from '../../../src/diffusion/checkpoint';
import type { Checkpoint } from '../../../src/diffusion/checkpoint';
import { unetModules } from '../../../src/diffusion/unet-layout';
import { fileSource } from '../../../src/formats/node';
import { openSafetensors } from '../../../src/formats/safetensors';
import type { Factors } from '../../../src/lora/init';
import { downColumns, selectModules } from '../../../src/lora/modules';
import type { NetworkModule, NetworkSettings } from '../../../src/lora/modules';
import { UniformStream } from '../../../src/lora/random';
import { UNET_BLOCKS } from '../../../src/recipe/defaults';
import { atTimesteps } from '../../../src/training/noising';
import type { StepDraw } from '../../../src/training/noising';

export type FilledModule = NetworkModule & Factors;

export interface GradientFixture {
	readonly checkpoint: Checkpoint;
	readonly copier: FilledModule[];
	readonly trained: FilledModule[];
	readonly draw: StepDraw;
	readonly latent: Float32Array;
	readonly context: Float32Array;
	readonly loss: Float32Array;
	readonly prediction: Float32Array;
	/** `path.down` and `path.up`, unpadded. */
	readonly gradients: ReadonlyMap<string, Float32Array>;
}

/** Streams (i, 1) and (i, 2) of the seed: down in ±1/√fan-in, up in ±0.05. */
export function filled(modules: readonly NetworkModule[], seed: number): FilledModule[] {
	return modules.map((m, i) => {
		const columns = downColumns(m);
		const spread = (which: number, count: number, bound: number) =>
			Float32Array.from(new UniformStream(seed, [i, which]).take(0, count), (u) => (2 * u - 1) * bound);
		return { ...m, down: spread(1, m.rank * columns, 1 / Math.sqrt(columns)), up: spread(2, m.outFeatures * m.rank, 0.05) };
	});
}

export async function gradientFixture(): Promise<GradientFixture> {
	const checkpoint = await openCheckpoint(await fileSource('public/models/mini.safetensors'));
	const file = await openSafetensors(await fileSource('test/fixtures/training/gradients.safetensors'));
	const modules = unetModules(checkpoint.config.unet);
	const network = (settings: Omit<NetworkSettings, 'blocks'>, seed: number) => filled(selectModules(modules, { ...settings, blocks: UNET_BLOCKS }), seed);
	const trained = network({ rank: 4, alpha: 4, convRank: 4, convAlpha: 2 }, 22);
	const gradients = new Map<string, Float32Array>();
	for (const m of trained) for (const role of ['down', 'up']) gradients.set(`${m.path}.${role}`, await file.readFloat32(`${m.path}.${role}`));
	const draw = { ...atTimesteps([801, 37], 0), weight: Float32Array.of(1, 0.3), counter: Uint32Array.of(6, 0, 1111, 0) };
	const [latent, context, loss, prediction] = await Promise.all(['latent', 'context', 'loss', 'prediction'].map((name) => file.readFloat32(name)));
	if (!latent || !context || !loss || !prediction) throw new Error('The fixture is incomplete.');
	return { checkpoint, copier: network({ rank: 4, alpha: 2, convRank: 0, convAlpha: 0 }, 21), trained, draw, latent, context, loss, prediction, gradients };
}

/** ‖a − b‖ / ‖b‖ */
export function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
	let [difference, size] = [0, 0];
	for (let i = 0; i < b.length; i++) {
		difference += ((a[i] ?? 0) - (b[i] ?? 0)) ** 2;
		size += (b[i] ?? 0) ** 2;
	}
	return Math.sqrt(difference / (size || 1e-300));
}
