/** The GPU and the model in the protocol's words. */
import { unetParameters } from '../diffusion/unet';
import type { Gpu } from '../gpu/gpu';
import type { OpenModel } from '../jobs/model';
import { countModules } from '../lora/modules';
import { BLOCK_IDS } from '../recipe/recipe';
import type { AdapterSummary, ModelInfo } from './protocol';

export function adapterSummary(gpu: Gpu): AdapterSummary {
	const { vendor, architecture, description, device, isFallback, software } = gpu.adapter;
	return {
		vendor,
		architecture,
		description: description || device,
		isFallback: isFallback || software,
		features: [...gpu.features].sort(),
		maxBufferSize: gpu.limits.maxBufferSize,
		maxBindingSize: gpu.limits.maxStorageBufferBindingSize
	};
}

export function modelInfo({ id, name, blob, checkpoint, modules }: OpenModel): ModelInfo {
	const { config } = checkpoint;
	const used = new Set<string>(modules.map(({ block }) => block));
	return {
		modelId: id,
		name: config.title || name,
		family: config.family,
		predictionType: config.prediction,
		resolution: config.resolution,
		unetParameters: unetParameters(config.unet),
		fileBytes: blob.size,
		modules: countModules(modules),
		blocks: BLOCK_IDS.filter((block) => used.has(block))
	};
}
