/** Where the VAE finds room: SDXL's at full size, planned without a GPU; which version is taken within a limit; and what a run says when none fits. */
import { expect, it } from 'vitest';
import { countingGpu } from '../../../bench/full/counting';
import { VAE_VERSIONS, vaeBytes } from '../../../src/diffusion/vae-gpu';
import { openFileAsBlob } from '../../../src/formats/node';
import { estimateRun } from '../../../src/jobs/estimate';
import { openModel } from '../../../src/jobs/model';
import { checkPictures } from '../../../src/jobs/picture-memory';
import { defaultRecipe } from '../../../src/recipe/defaults';
import { fitGuest, type Guest } from '../../../src/training/fit';
import { checkpointTensors } from '../../../tools/synthetic/layout.mjs';

const total = (sizes: readonly number[]): number => sizes.reduce((a, b) => a + b, 0);

it('plans SDXL’s decoder for 1024² in half the room, for less than twice the work', async () => {
	const { gpu } = countingGpu();
	const mini = await openModel('m', 'mini', await openFileAsBlob('public/models/mini.safetensors'));
	const tensors = new Map(checkpointTensors('sdxl').map(({ name, shape }) => [name, { dtype: 'F16' as const, shape, begin: 0, end: 0 }]));
	const vae = { prefix: 'first_stage_model.', channels: 128, channelMult: [1, 2, 4, 4], resBlocks: 2, latentChannels: 4, groups: 32, scale: 0.13025 };
	const { checkpoint } = mini;
	const sdxl = {
		...checkpoint,
		config: { ...checkpoint.config, vae },
		file: Object.assign(Object.create(checkpoint.file) as typeof checkpoint.file, { tensors })
	};
	for (const direction of ['encode', 'decode'] as const) {
		const plans = await Promise.all(
			Array.from({ length: VAE_VERSIONS }, (_, version) => vaeBytes(gpu, sdxl, direction, { width: 1024, height: 1024 }, version))
		);
		const [first, last] = [plans[0], plans.at(-1)];
		if (!first || !last) expect.fail('there are versions');
		expect(total(last.arenas) / total(first.arenas)).toBeLessThan(direction === 'decode' ? 0.5 : 0.7);
		expect(last.flops / first.flops).toBeLessThan(2);
		expect(last.otherBytes).toBeLessThan(1.01 * first.otherBytes);
	}
});

it('takes the quickest version that fits beside what is held, in arenas that serve both', async () => {
	const versions: Guest[] = [900, 500, 200].map((bytes, version) => ({ version, arenas: [bytes, 50], otherBytes: 100 }));
	const guests = (version: number): Promise<Guest | undefined> => Promise.resolve(versions[version]);
	const fit = (limit: number) => fitGuest(1000, [300], guests, limit);
	expect(await fit(2050)).toEqual({ guest: versions[0], arenas: [900, 50], totalBytes: 2050 });
	expect(await fit(2049)).toEqual({ guest: versions[1], arenas: [500, 50], totalBytes: 1650 });
	expect(await fit(1450)).toEqual({ guest: versions[2], arenas: [300, 50], totalBytes: 1450 });
	expect(await fit(1449)).toEqual({ guest: undefined, arenas: [300], totalBytes: 1300 });
});

it('keeps a run with previews within its limit, or leaves them to the CPU and says so', async () => {
	const { gpu, live } = countingGpu();
	const model = await openModel('m', 'mini', await openFileAsBlob('public/models/mini.safetensors'));
	const recipe = defaultRecipe('mini', 'lora');
	recipe.preview.every = 10;
	const estimate = (limit?: number) => estimateRun(gpu, model, recipe, [{ width: 128, height: 128 }], limit);
	const free = await estimate();
	const { total: all, decoder = 0, activations } = free.memory.difference;
	expect(free.pictures.preview).toBe('gpu');
	expect(decoder).toBeGreaterThan(0);
	const limit = Math.floor(all - decoder - 0.3 * activations);
	const { memory, pictures, problems } = await estimate(limit);
	expect(pictures.most).toBeLessThanOrEqual(limit);
	expect(memory.difference.total).toBeLessThanOrEqual(limit);
	const onCpu = pictures.preview === 'cpu' || pictures.strip?.on === 'cpu' || pictures.encode?.on === 'cpu';
	expect(problems.map(({ code }) => code)).toEqual(onCpu ? ['gpu.vaeOnCpu'] : []);
	expect(checkPictures(gpu, model, { preview: 'cpu', encode: { total: 1, vae: 1, on: 'gpu' } }, 2 ** 30)).toMatchObject([
		{ level: 'warning', code: 'gpu.vaeOnCpu', values: { limit: 1, phases: 'preview' } }
	]);
	expect(live.bytes).toBe(0);
});
