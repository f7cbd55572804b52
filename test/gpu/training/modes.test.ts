/** Losses and LoRA gradients of every mode at three steps against the restatement in PyTorch (tools/mode-reference), as the objectives themselves write the steps. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../../src/diffusion/checkpoint';
import type { Checkpoint } from '../../../src/diffusion/checkpoint';
import { unetModules } from '../../../src/diffusion/unet-layout';
import { loadUnetWeights } from '../../../src/diffusion/weights';
import { fileSource } from '../../../src/formats/node';
import { openSafetensors } from '../../../src/formats/safetensors';
import type { SafetensorsFile } from '../../../src/formats/safetensors';
import type { Gpu } from '../../../src/gpu/gpu';
import { compile } from '../../../src/kernels/program';
import { WeightStore } from '../../../src/kernels/weights';
import { selectModules } from '../../../src/lora/modules';
import type { PassSettings } from '../../../src/recipe/recipe';
import { defaultRecipe } from '../../../src/recipe/defaults';
import { addiftObjective } from '../../../src/training/addift';
import { denoisingObjective } from '../../../src/training/denoising';
import { lecoObjective } from '../../../src/training/leco';
import { downName, frozenNetwork, upName } from '../../../src/training/network';
import type { Network } from '../../../src/training/network';
import type { Objective } from '../../../src/training/objective';
import { picturesObjective } from '../../../src/training/pictures';
import { openTestGpu } from '../harness';
import { filled, relativeError } from './fixture';

const STEPS = 3;
const KEPT = ['output_blocks.10.1.transformer_blocks.0.attn2.to_k', 'output_blocks.11.1.transformer_blocks.0.attn1.to_q', 'output_blocks.11.1.proj_out'];
const SIZE = { height: 16, width: 16 };
const seed = 1111;

let gpu: Gpu;
let checkpoint: Checkpoint;
let weights: WeightStore;
let network: Network;
let file: SafetensorsFile;
const latents = new Map<string, Float32Array>();
const texts: { context: Float32Array }[] = [];
let mask: Float32Array;

beforeAll(async () => {
	gpu = await openTestGpu();
	checkpoint = await openCheckpoint(await fileSource('public/models/mini.safetensors'));
	weights = new WeightStore(gpu, 'f32');
	await loadUnetWeights(checkpoint, weights);
	file = await openSafetensors(await fileSource('test/fixtures/modes/modes.safetensors'));
	for (const name of ['closed', 'a', 'e']) latents.set(name, await file.readFloat32(`latent.${name}`));
	for (const i of [0, 1, 2]) texts.push({ context: await file.readFloat32(`text.${i}`) });
	mask = await file.readFloat32('mask');
	const modules = selectModules(unetModules(checkpoint.config.unet), { ...settings({}), rank: 4, alpha: 2, blocks: ['OUT10', 'OUT11'] });
	network = await frozenNetwork(gpu, 'difference', filled(modules, 22));
});
afterAll(() => {
	network.store.destroy();
	weights.destroy();
});

function settings(change: Partial<PassSettings>): PassSettings {
	const base = defaultRecipe('mini').passes.difference;
	return { ...base, convRank: 0, batch: 2, minSnrGamma: 0, timesteps: { min: 0, max: 1000 }, loss: 'mse', sharedTimesteps: false, ...change };
}

const latent = (name: string): Float32Array => latents.get(name) ?? new Float32Array(0);
const text = (i: number): { context: Float32Array } => texts[i] ?? { context: new Float32Array(0) };
const common = () => ({ storage: 'f32' as const, seed, trained: network });

const MODES: Record<string, () => Objective> = {
	addift: () => pairs(settings({ minSnrGamma: 5, timesteps: { min: 200, max: 800 } }), undefined),
	masked: () => pairs(settings({ minSnrGamma: 5, timesteps: { min: 200, max: 800 }, loss: 'l1' }), mask),
	leco: () =>
		lecoObjective({ ...common(), ...SIZE, config: checkpoint.config.unet, settings: settings({}), conditioning: { original: text(1), target: text(2) } }),
	lora: () =>
		picturesObjective({
			...common(),
			config: checkpoint.config,
			settings: settings({ minSnrGamma: 5, timesteps: { min: 100, max: 900 }, loss: 'smoothL1' }),
			buckets: [
				{
					...SIZE,
					pictures: [
						{ latent: latent('closed'), conditioning: text(1) },
						{ latent: latent('e'), conditioning: text(2) }
					]
				}
			]
		}),
	velocity: () =>
		denoisingObjective({
			...common(),
			...SIZE,
			config: { ...checkpoint.config, prediction: 'v' },
			settings: settings({ minSnrGamma: 5 }),
			latent: latent('closed'),
			conditioning: text(0),
			frozen: []
		})
};

function pairs(passSettings: PassSettings, pairMask: Float32Array | undefined): Objective {
	return addiftObjective({
		...common(),
		config: checkpoint.config.unet,
		settings: passSettings,
		addift: { timesteps: 'traintrain', multiplier: 0.25, ratio: 1 },
		buckets: [{ ...SIZE, pairs: [{ original: latent('closed'), target: latent('a'), mask: pairMask }] }],
		conditioning: { original: text(1), target: text(2) }
	});
}

describe('three steps of every mode', { timeout: 900_000 }, () => {
	it.each(Object.keys(MODES))('%s', async (name) => {
		const objective = MODES[name]?.();
		const step = objective?.shapes[0];
		if (!objective || !step) throw new Error(`No mode ${name}.`);
		const program = await compile(gpu, step.graph, { weights, factors: [network.store] });
		try {
			objective.begin(program, 0);
			for (let k = 0; k < STEPS; k++) {
				const { shape, scalars } = objective.write(k, [program]);
				expect(shape).toBe(0);
				await program.run({ ...scalars, lossScale: 1 });
				const loss = await program.read(step.loss);
				const expected = await file.readFloat32(`${name}.${k}.loss`);
				expect(relativeError(loss, expected), `loss of step ${k}`).toBeLessThan(2e-5);
				for (const path of KEPT)
					for (const [role, parameter] of [
						['down', downName('difference', path)],
						['up', upName('difference', path)]
					] as const) {
						const gradient = [...step.gradients].find(([value]) => value.name === parameter)?.[1];
						if (!gradient) throw new Error(`${parameter} has no gradient.`);
						expect(
							relativeError(await program.read(gradient), await file.readFloat32(`${name}.${k}.${path}.${role}`)),
							`${path}.${role}, step ${k}`
						).toBeLessThan(2e-4);
					}
			}
		} finally {
			program.destroy();
		}
	});
});
