/**
 * Names of LoRA modules: checkpoint path ↔ what stands in files.
 *
 * Written (kohya's own style per family, the one every consumer reads):
 * - SD1.5 and the mini model: `lora_unet_` + diffusers path, e.g. `lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q`
 * - SDXL: `lora_unet_` + checkpoint path, e.g. `lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q`; the diffusers spelling of one SDXL upsampler is
 *   lost in A1111.
 * - Text encoders: `lora_te_text_model_encoder_layers_0_self_attn_q_proj`, SDXL's two `lora_te1_…` and `lora_te2_…`.
 * Read: both styles for both families, diffusers and PEFT (`unet.….lora_A.weight`, `….lora.down.weight`, `….processor.to_q_lora.down.weight`),
 * ComfyUI (`diffusion_model.….lora_A.weight`).
 *
 * Block arithmetic: input_blocks.{1+3i+j} = down_blocks.i.*.j, input_blocks.{3+3i} = its downsampler; output_blocks.{3i+j} = up_blocks.i.*.j with the upsampler
 * last in output_blocks.{3i+2}.
 */
import type { BlockId, ModelFamily } from '../recipe/recipe';

const RESNET: Readonly<Record<string, string>> = {
	'in_layers.2': 'conv1',
	'out_layers.3': 'conv2',
	'emb_layers.1': 'time_emb_proj',
	skip_connection: 'conv_shortcut'
};
const MIDDLE = ['resnets.0', 'attentions.0', 'resnets.1'];

/** Checkpoint path → diffusers path with dots. @throws RangeError for paths outside of the UNet's blocks */
export function diffusersPath(path: string): string {
	const parts = path.split('.');
	const [area, first, second] = parts;
	if (area === 'middle_block') {
		const rest = parts.slice(2).join('.');
		return `mid_block.${MIDDLE[Number(first)] ?? ''}.${RESNET[rest] ?? rest}`;
	}
	const n = Number(first);
	if ((area !== 'input_blocks' && area !== 'output_blocks') || !Number.isInteger(n) || (area === 'input_blocks' && n < 1)) {
		throw new RangeError(`${path} is not a module of a UNet block.`);
	}
	const at = area === 'input_blocks' ? n - 1 : n;
	const [i, j] = [Math.floor(at / 3), at % 3];
	const block = area === 'input_blocks' ? `down_blocks.${i}` : `up_blocks.${i}`;
	const last = parts.at(-1);
	if (last === 'op') return `${block}.downsamplers.0.conv`;
	if (last === 'conv') return `${block}.upsamplers.0.conv`;
	const rest = parts.slice(3).join('.');
	return `${block}.${second === '0' ? 'resnets' : 'attentions'}.${j}.${RESNET[rest] ?? rest}`;
}

const underscored = (path: string): string => path.replaceAll('.', '_');

/** Paths of text-encoder modules begin with `te1.` or `te2.`; a model with one encoder calls it `te` in files. */
const isText = (path: string): boolean => /^te[12]\./.test(path);

/** The name a module has in files written here. */
export function kohyaName(path: string, family: ModelFamily): string {
	if (isText(path)) return `lora_${underscored(family === 'sdxl' ? path : path.replace(/^te1\./, 'te.'))}`;
	return `lora_unet_${underscored(family === 'sdxl' ? path : diffusersPath(path))}`;
}

/** Every name under which files may hold this module, in the canonical spelling of `splitKey`. */
export function readableNames(path: string): string[] {
	if (isText(path)) return [underscored(path), underscored(path.replace(/^te1\./, 'te.'))];
	return [underscored(diffusersPath(path)), underscored(path)];
}

export type FactorRole = 'down' | 'up' | 'alpha';
export type ModulePart = 'unet' | 'te';

export interface LoraKey {
	readonly part: ModulePart;
	/** Module path with underscores, without prefix; for text encoders with the encoder's prefix (`te1_…`). */
	readonly module: string;
	readonly role: FactorRole;
}

const ROLES: readonly (readonly [string, FactorRole])[] = [
	['.lora_down.weight', 'down'],
	['.lora_up.weight', 'up'],
	['.alpha', 'alpha'],
	['.lora_A.weight', 'down'],
	['.lora_B.weight', 'up'],
	['.lora_A.default.weight', 'down'],
	['.lora_B.default.weight', 'up'],
	['.lora.down.weight', 'down'],
	['.lora.up.weight', 'up'],
	['_lora.down.weight', 'down'],
	['_lora.up.weight', 'up'],
	['.lora_linear_layer.down.weight', 'down'],
	['.lora_linear_layer.up.weight', 'up']
];

const PREFIXES: readonly (readonly [RegExp, ModulePart, string])[] = [
	[/^(?:lora|lycoris)_unet_/, 'unet', ''],
	[/^(?:base_model\.model\.)?(?:unet|diffusion_model|model\.diffusion_model)\./, 'unet', ''],
	[/^lora_te1_/, 'te', 'te1_'],
	[/^lora_te2_/, 'te', 'te2_'],
	[/^lora_te_/, 'te', 'te_'],
	[/^(?:base_model\.model\.)?text_encoder\./, 'te', 'te1_'],
	[/^(?:base_model\.model\.)?text_encoder_2\./, 'te', 'te2_']
];

/** What a tensor name says, or null when it is not a plain low-rank factor of a UNet or CLIP module. */
export function splitKey(name: string): LoraKey | null {
	for (const [suffix, role] of ROLES) {
		if (!name.endsWith(suffix)) continue;
		const stem = name.slice(0, -suffix.length);
		for (const [prefix, part, mark] of PREFIXES) {
			if (!prefix.test(stem)) continue;
			let module = stem.replace(prefix, '').replace('.processor.', '.');
			// diffusers' old attention processors call the module `to_out_lora`, PyTorch calls it `to_out.0`.
			if (suffix.startsWith('_lora') && module.endsWith('to_out')) module += '.0';
			return { part, module: mark + underscored(module), role };
		}
	}
	return null;
}

const two = (n: number): string => String(n).padStart(2, '0');

/** The block a module name belongs to, in either spelling; BASE for text encoders and anything unknown. */
export function blockOfName(module: string): BlockId {
	const match = /^(input|output|down|up)_blocks_(\d+)_(?:(resnets|attentions|downsamplers|upsamplers)_(\d+))?/.exec(module);
	if (/^mid(?:dle)?_block/.test(module)) return 'M00';
	if (!match) return 'BASE';
	const [, area, first, kind, second] = match;
	const i = Number(first);
	const j = Number(second ?? 0);
	switch (area) {
		case 'input':
			return `IN${two(i)}`;
		case 'output':
			return `OUT${two(i)}`;
		case 'down':
			return `IN${two(kind === 'downsamplers' ? 3 + 3 * i : 1 + 3 * i + j)}`;
		default:
			return `OUT${two(kind === 'upsamplers' ? 3 * i + 2 : 3 * i + j)}`;
	}
}
