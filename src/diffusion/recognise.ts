/**
 * Tells what kind of model file this is, by the names and shapes of its tensors.
 * The rule: everything that cannot be trained here is named, so that the message says what the file is instead of "unsupported".
 */
import { FormatError } from '../formats/error';
import type { TensorEntry } from '../formats/safetensors';

export type Tensors = ReadonlyMap<string, Pick<TensorEntry, 'shape'>>;

export const UNET_PREFIX = 'model.diffusion_model.';
const CHECKPOINT = 'Choose a full single-file checkpoint of Stable Diffusion 1.5 or SDXL (UNet, VAE and text encoder in one .safetensors).';

/**
 * @throws FormatError `is-lora`, `is-vae`, `is-diffusers`, `is-unet-only`, `is-sd2`, `is-sd3`, `is-flux`, `is-refiner`, `is-inpainting`, `unknown-model`
 */
export function refuseStrangers(tensors: Tensors): void {
	const has = (pattern: RegExp): string | undefined => {
		for (const name of tensors.keys()) if (pattern.test(name)) return name;
		return undefined;
	};
	const refuse = (code: FormatError['code'], where: string, problem: string, remedy = CHECKPOINT): never => {
		throw new FormatError(code, where, problem, remedy);
	};
	let found: string | undefined;
	if ((found = has(/\.lora_(down|up|A|B)\.|\.hada_w[12]_|\.lokr_w[12]|^lora_(unet|te\d?)_|\.dora_scale$/))) {
		refuse('is-lora', found, 'This is a LoRA, not a checkpoint', `Use it where LoRAs are asked for. ${CHECKPOINT}`);
	}
	if ((found = has(/(^|\.)joint_blocks\.\d/))) refuse('is-sd3', found, 'This is a Stable Diffusion 3 model, which cannot be trained here');
	if ((found = has(/(^|\.)(double_blocks|single_blocks|single_transformer_blocks)\.\d/))) {
		refuse('is-flux', found, 'This is a Flux model, which cannot be trained here');
	}
	if ((found = has(/^(unet\.)?(down_blocks|up_blocks|mid_block)\.(\d|resnets|attentions)|^(unet\.)?conv_in\.weight$/))) {
		const remedy = 'Convert the folder to one file in the original layout (diffusers has a script for it), or choose a single-file checkpoint.';
		refuse('is-diffusers', found, 'This is one part of a model in the diffusers layout', remedy);
	}
	const first = tensors.get(`${UNET_PREFIX}input_blocks.0.0.weight`);
	if (!first) {
		if ((found = has(/^input_blocks\.0\.0\.weight$/))) refuse('is-unet-only', found, 'This file holds only a UNet');
		if ((found = has(/(^|\.)(encoder|decoder)\.conv_in\.weight$/))) refuse('is-vae', found, 'This file holds only a VAE');
		refuse('unknown-model', `${UNET_PREFIX}input_blocks.0.0.weight`, 'The file holds no UNet of Stable Diffusion');
	}
	const channels = first?.shape[1];
	if (channels === 9)
		refuse('is-inpainting', `${UNET_PREFIX}input_blocks.0.0.weight`, 'This is an inpainting model (9 input channels), which cannot be trained here');
	if (channels !== 4) refuse('unknown-model', `${UNET_PREFIX}input_blocks.0.0.weight`, `The UNet takes ${String(channels)} channels instead of 4`);
	const context = contextDim(tensors);
	const label = tensors.get(`${UNET_PREFIX}label_emb.0.0.weight`)?.shape[1];
	if (context === 1280 && label) refuse('is-refiner', `${UNET_PREFIX}label_emb.0.0.weight`, 'This is the SDXL refiner, which cannot be trained here');
	if (context === 1024 || has(/^cond_stage_model\.model\.transformer\./)) {
		refuse('is-sd2', `${UNET_PREFIX}…attn2.to_k.weight`, 'This is a Stable Diffusion 2 model (context of 1024), which cannot be trained here');
	}
}

/** Width of the text context, from the first cross attention; undefined without one. */
export function contextDim(tensors: Tensors): number | undefined {
	for (const [name, { shape }] of tensors) {
		if (name.startsWith(UNET_PREFIX) && name.endsWith('.transformer_blocks.0.attn2.to_k.weight')) return shape[1];
	}
	return undefined;
}
