/**
 * One prediction and one training step of a full-size UNet, written for comparison with diffusers (`bench/parity.py`, which draws the same inputs and factors).
 *
 *   npx vite build --ssr bench/parity.ts --outDir dist/bench
 *   node dist/bench/parity.js --model FILE --size 1024 --out FOLDER [--variants f16,f16-recompute,int8,f32] [--budget 2] [--checked]
 *   python bench/parity.py --model FILE --size 1024 --ours FOLDER
 *
 * Kernels are those of training in Node, chosen for a device without validation; --checked: those chosen with it.
 * A folder of VARIANT.safetensors comes out: `prediction` `[h, w, 4]` with the network at strength 1, `loss`, and the gradients of all LoRA factors. One JSON line a variant.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openCheckpoint } from '../src/diffusion/checkpoint';
import { channelsLast, nvNormal } from '../src/diffusion/noise';
import { sizeVector } from '../src/diffusion/text';
import { unetModules } from '../src/diffusion/unet-layout';
import { loadUnetWeights } from '../src/diffusion/weights';
import { crc32 } from '../src/formats/crc32';
import { fileSource } from '../src/formats/node';
import { writeSafetensors, type TensorData } from '../src/formats/safetensors-writer';
import { openGpu } from '../src/gpu/gpu';
import { CHECKED_FLAGS, dawn, FAST_FLAGS } from '../src/gpu/node';
import { recompute } from '../src/graph/recompute';
import { FactorStore } from '../src/kernels/factors';
import { compile } from '../src/kernels/program';
import { WeightStore } from '../src/kernels/weights';
import { downColumns, selectModules } from '../src/lora/modules';
import { UniformStream } from '../src/lora/random';
import { UNET_BLOCKS } from '../src/recipe/defaults';
import { downName, factorEntries, upName } from '../src/training/network';
import { atTimesteps } from '../src/training/noising';
import { Denoiser } from '../src/training/sample';
import { buildStep } from '../src/training/step';

const { values: args } = parseArgs({
	options: {
		model: { type: 'string', default: '' },
		size: { type: 'string', default: '512' },
		out: { type: 'string', default: '' },
		variants: { type: 'string', default: 'f16' },
		checked: { type: 'boolean', default: false },
		/** GiB of intermediates for the variants that recompute. */
		budget: { type: 'string', default: '2' }
	}
});

const SEED = 33;
const TIMESTEP = 601;
const LOSS_SCALE = 2 ** 12;

const seconds = (since: number): number => Math.round((performance.now() - since) / 100) / 10;
const gpu = await openGpu(await dawn(args.checked ? CHECKED_FLAGS : FAST_FLAGS), { unclamped: !args.checked });
const checkpoint = await openCheckpoint(await fileSource(args.model));
const { unet } = checkpoint.config;
const side = Number(args.size) / 8;
const shape = { height: side, width: side, channels: 4 };
const modules = selectModules(unetModules(unet), { rank: 4, alpha: 4, convRank: 2, convAlpha: 1, blocks: UNET_BLOCKS });
const plan = { label: 'l', modules };
const pixels = Number(args.size);
const vector =
	unet.vectorDim > 0 ? sizeVector(nvNormal(9, 0, unet.vectorDim - 6 * 256), { original: [pixels, pixels], crop: [0, 0], target: [pixels, pixels] }) : undefined;
const conditioning = { context: nvNormal(8, 0, 77 * unet.contextDim), vector };
const latent = channelsLast(nvNormal(5, 0, 4 * side * side), shape);
const noise = channelsLast(nvNormal(1111, 6, 4 * side * side), shape);
const { t, coef } = atTimesteps([TIMESTEP], 0);
await mkdir(args.out, { recursive: true });

async function run(variant: string): Promise<void> {
	const [kind = 'f16', ...modes] = variant.split('-');
	const storage = kind === 'f32' ? 'f32' : 'f16';
	const began = performance.now();
	const weights = new WeightStore(gpu, storage, kind === 'int8' ? 'int8' : 'f16');
	await loadUnetWeights(checkpoint, weights);
	const loaded = seconds(began);
	const store = await new FactorStore(gpu, factorEntries(plan), { trainable: true }).ready();
	for (const m of modules) {
		const columns = downColumns(m);
		const draw = (which: number, count: number, bound: number): Float32Array =>
			Float32Array.from(new UniformStream(SEED, [crc32(new TextEncoder().encode(m.path)), which]).take(0, count), (u) => (2 * u - 1) * bound);
		await store.write(downName('l', m.path), draw(1, m.rank * columns, 1 / Math.sqrt(columns)));
		await store.write(upName('l', m.path), draw(2, m.outFeatures * m.rank, 0.05));
	}
	const out: TensorData[] = [];
	const add = (name: string, data: Float32Array): void => void out.push({ name, dtype: 'F32', shape: [data.length], data });

	const denoiser = await Denoiser.create(gpu, { config: unet, weights, networks: [{ ...plan, store }], height: side, width: side, batch: 1 });
	const [a = 0, s = 0] = coef;
	const noised = latent.map((x, i) => a * x + s * (noise[i] ?? 0));
	add('prediction', await denoiser.predict(noised, [TIMESTEP], [conditioning], [1]));
	denoiser.destroy();
	const predicted = seconds(began);

	const step = buildStep(unet, { height: side, width: side, storage }, { batch: 1, loss: 'mse' }, { frozen: [], trained: plan });
	const external = step.gradients.values();
	const graph = modes.includes('recompute') ? recompute(step.graph, { budgetBytes: Number(args.budget) * 2 ** 30, external }) : step.graph;
	const program = await compile(gpu, graph, {
		weights,
		factors: [store],
		gradients: step.gradients,
		history: [step.loss],
		label: variant
	});
	const { inputs } = step;
	program.write(inputs.latent, latent);
	program.write(inputs.context, conditioning.context);
	if (inputs.vector && vector) program.write(inputs.vector, vector);
	program.write(inputs.t, t);
	program.write(inputs.coef, coef);
	program.write(inputs.weight, Float32Array.of(1));
	program.write(inputs.counter, Uint32Array.of(6, 0, 1111, 0));
	await program.run({ lossScale: LOSS_SCALE });
	const loss = await program.readHistory(step.loss);
	add('loss', Float32Array.from(loss));
	const gradients = await store.readGradients();
	for (const m of modules) {
		for (const [name, key] of [
			[downName('l', m.path), `${m.path}.down`],
			[upName('l', m.path), `${m.path}.up`]
		] as const) {
			add(
				key,
				(gradients.get(name) ?? new Float32Array()).map((x) => x / LOSS_SCALE)
			);
		}
	}
	await writeFile(join(args.out, `${variant}.safetensors`), writeSafetensors(out));
	const { allocatedBytes } = program.summary;
	console.log(
		JSON.stringify({
			variant,
			loss: loss[0],
			loaded,
			predicted,
			seconds: seconds(began),
			weights: weights.bytes,
			intermediates: allocatedBytes,
			ops: graph.ops.length
		})
	);
	program.destroy();
	store.destroy();
	weights.destroy();
}

for (const variant of args.variants.split(','))
	await run(variant).catch((error: unknown) => console.log(JSON.stringify({ variant, error: String(error).slice(0, 600) })));
process.exit(0);
