/**
 * Module names of any style brought to one, the checkpoint's own path with underscores (`input_blocks_4_1_transformer_blocks_0_attn1_to_q`), and back to what kohya
 * writes per family. Works on names alone, so that LoRAs can be merged without their model.
 *
 * Rules: `keys.ts` on blocks; an upsampler stands behind the transformer where its block has one: SDXL always, SD1.5 in all but the first up block.
 * Text encoders: `te1_…`, `te2_…`; SD1.5 files call the only one `lora_te_`.
 */
import type { ModelFamily } from '../recipe/recipe';
import type { ModulePart } from './keys';

/** Diffusers' name inside of a residual block, and the checkpoint's. */
const RESNET: readonly (readonly [string, string])[] = [
	['conv1', 'in_layers_2'],
	['conv2', 'out_layers_3'],
	['time_emb_proj', 'emb_layers_1'],
	['conv_shortcut', 'skip_connection']
];
const toModel = (rest: string): string => RESNET.find(([theirs]) => theirs === rest)?.[1] ?? rest;
const toDiffusers = (rest: string): string => RESNET.find(([, ours]) => ours === rest)?.[0] ?? rest;
const MIDDLE = ['resnets_0', 'attentions_0', 'resnets_1'];

/** The one name of a module, whatever its file calls it. */
export function modelName(name: string, part: ModulePart, family: ModelFamily): string {
	if (part === 'te') return name.replace(/^te_/, 'te1_');
	const middle = /^mid_block_((?:resnets|attentions)_\d+)_(.+)$/.exec(name);
	if (middle) return `middle_block_${MIDDLE.indexOf(middle[1] ?? '')}_${toModel(middle[2] ?? '')}`;
	const match = /^(down|up)_blocks_(\d+)_(resnets|attentions|downsamplers|upsamplers)_(\d+)_(.+)$/.exec(name);
	if (!match) return name;
	const [, side, block, kind, index, rest = ''] = match;
	const [i, j] = [Number(block), Number(index)];
	if (kind === 'downsamplers') return `input_blocks_${3 + 3 * i}_0_op`;
	if (kind === 'upsamplers') return `output_blocks_${3 * i + 2}_${family === 'sdxl' || i > 0 ? 2 : 1}_conv`;
	const at = side === 'down' ? `input_blocks_${1 + 3 * i + j}` : `output_blocks_${3 * i + j}`;
	return kind === 'resnets' ? `${at}_0_${toModel(rest)}` : `${at}_1_${rest}`;
}

function diffusersName(name: string): string {
	const middle = /^middle_block_(\d)_(.+)$/.exec(name);
	if (middle) return `mid_block_${MIDDLE[Number(middle[1])] ?? ''}_${toDiffusers(middle[2] ?? '')}`;
	const match = /^(input|output)_blocks_(\d+)_(\d)_(.+)$/.exec(name);
	if (!match) return name;
	const [, side, number, layer, rest = ''] = match;
	const at = side === 'input' ? Number(number) - 1 : Number(number);
	const [i, j] = [Math.floor(at / 3), at % 3];
	const block = side === 'input' ? `down_blocks_${i}` : `up_blocks_${i}`;
	if (rest === 'op') return `${block}_downsamplers_0_conv`;
	if (rest === 'conv') return `${block}_upsamplers_0_conv`;
	return `${block}_${layer === '0' ? 'resnets' : 'attentions'}_${j}_${toDiffusers(rest)}`;
}

/** What kohya calls the module in files of this family. */
export function fileName(name: string, part: ModulePart, family: ModelFamily): string {
	if (part === 'te') return `lora_${family === 'sdxl' ? name : name.replace(/^te1_/, 'te_')}`;
	return `lora_unet_${family === 'sdxl' ? name : diffusersName(name)}`;
}

/** 1×1 convolutions, whose factors are stored with four axes. SDXL's projections are Linear. */
export function isPointwise(name: string, family: ModelFamily): boolean {
	return /_skip_connection$/.test(name) || (family !== 'sdxl' && /_blocks?_\d+_(?:\d+_)?proj_(in|out)$/.test(name));
}
