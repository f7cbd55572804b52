/**
 * Where a LoRA's modules lie in a single-file checkpoint: by the names of its tensors alone.
 *
 * Rules
 * - UNet: `model.diffusion_model.PATH.weight`, every Linear and convolution. First text encoder: CLIP's own names behind its prefix.
 * - SDXL's second text encoder is stored as OpenCLIP: q, k and v are one tensor of three times the rows, and layers have other names.
 * Source: the layout of SD1.5 and SDXL checkpoints.
 */
import { UNET_PREFIX } from '../diffusion/recognise';
import type { TensorEntry } from '../formats/safetensors';

export interface Place {
	readonly tensor: string;
	/** Rows of the tensor that belong to the module. */
	readonly firstRow: number;
	readonly rows: number;
	/** Shape of that part as stored. */
	readonly shape: readonly number[];
}

const CLIP = /^(?:cond_stage_model|conditioner\.embedders\.0)\.transformer\.(text_model\..+)\.weight$/;
const BIG_G = /^conditioner\.embedders\.1\.model\.transformer\.resblocks\.(\d+)\.(.+)$/;
const BIG_G_NAMES: Readonly<Record<string, string>> = {
	'attn.out_proj.weight': 'self_attn_out_proj',
	'mlp.c_fc.weight': 'mlp_fc1',
	'mlp.c_proj.weight': 'mlp_fc2'
};

/** Canonical module name → its place. Weights with fewer than two axes are no modules. */
export function modulePlaces(tensors: ReadonlyMap<string, Pick<TensorEntry, 'shape'>>): Map<string, Place> {
	const places = new Map<string, Place>();
	for (const [tensor, { shape }] of tensors) {
		const [rows = 0] = shape;
		if (shape.length < 2) continue;
		const whole: Place = { tensor, firstRow: 0, rows, shape };
		if (tensor.startsWith(UNET_PREFIX) && tensor.endsWith('.weight')) {
			places.set(tensor.slice(UNET_PREFIX.length, -'.weight'.length).replaceAll('.', '_'), whole);
			continue;
		}
		const clip = CLIP.exec(tensor)?.[1];
		if (clip !== undefined && clip.includes('.layers.')) places.set(`te1_${clip.replaceAll('.', '_')}`, whole);
		const [, layer = '', rest = ''] = BIG_G.exec(tensor) ?? [];
		const stem = `te2_text_model_encoder_layers_${layer}_`;
		const name = BIG_G_NAMES[rest];
		if (name !== undefined) places.set(stem + name, whole);
		else if (rest === 'attn.in_proj_weight') {
			['q', 'k', 'v'].forEach((letter, i) =>
				places.set(`${stem}self_attn_${letter}_proj`, { tensor, firstRow: (i * rows) / 3, rows: rows / 3, shape: [rows / 3, ...shape.slice(1)] })
			);
		}
	}
	return places;
}
