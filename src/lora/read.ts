/**
 * A LoRA file as it is, without a model at hand: tensors grouped into modules under canonical names, and what the file looks like.
 *
 * Rules
 * - Missing alpha, or alpha 0, means alpha = rank (kohya).
 * - A LoHa file is read as the plain LoRA it equals (`loha.ts`).
 * - DoRA, LoKr, OFT, IA³, Tucker LoCon and full-difference files are refused by name: dropping a part of them would silently change the result.
 * - A module needs both factors, with the same rank.
 */
import type { SafetensorsFile } from '../formats/safetensors';
import type { ModelFamily } from '../recipe/recipe';
import { LoraError } from './error';
import { splitKey } from './keys';
import type { ModulePart } from './keys';
import { isLoha, lohaAsLora } from './loha';

export interface RawModule {
	readonly part: ModulePart;
	/** Path with underscores, in the file's own style (diffusers or checkpoint). */
	readonly name: string;
	readonly rank: number;
	readonly alpha: number;
	/** Tensor names. */
	readonly down: string;
	readonly up: string;
	readonly downShape: readonly number[];
	readonly upShape: readonly number[];
}

export interface RawLora {
	readonly file: SafetensorsFile;
	readonly modules: readonly RawModule[];
	/** Tensors with names of no known style. */
	readonly unknown: readonly string[];
	readonly looksLike: Lookalike;
}

/** `family` is null for architectures Utsushi does not train. */
export interface Lookalike {
	readonly family: ModelFamily | null;
	/** For people. */
	readonly title: string;
}

/** Parts of names that give other kinds of adapters away. */
const OTHER_KINDS: readonly (readonly [RegExp, string])[] = [
	[/\.lokr_[wt]\d/, 'LoKr'],
	[/\.oft_|\.oft_diag$/, 'OFT'],
	[/\.on_input$/, 'IA³'],
	[/\.lora_mid\.weight$/, 'LoCon with Tucker decomposition'],
	[/\.diff(_b)?$/, 'a full weight difference'],
	[/\.(w_norm|b_norm)$/, 'trained norms'],
	[/\.glora_|\.a1\.weight$/, 'GLoRA']
];

const OTHER_MODELS: readonly (readonly [RegExp, string])[] = [
	[/double_blocks|single_blocks|single_transformer_blocks/, 'Flux'],
	[/joint_blocks/, 'Stable Diffusion 3'],
	[/^(lora_transformer_|transformer\.)|diffusion_model\.(layers|blocks)\./, 'a transformer model (Flux, SD3, Qwen, Wan or alike)']
];

/** By the width of the text context, which differs between all families: 768 SD1.5, 1024 SD2, 2048 SDXL, 1280 its refiner, 64 the mini model. */
function lookalike(modules: readonly RawModule[], names: readonly string[]): Lookalike {
	for (const [pattern, title] of OTHER_MODELS) if (names.some((name) => pattern.test(name))) return { family: null, title };
	const cross = modules.find((m) => m.part === 'unet' && /attn2_to_[kv]$/.test(m.name));
	switch (cross?.downShape[1]) {
		case 768:
			return { family: 'sd15', title: 'Stable Diffusion 1.5' };
		case 1024:
			return { family: null, title: 'Stable Diffusion 2' };
		case 2048:
			return { family: 'sdxl', title: 'SDXL' };
		case 1280:
			return { family: null, title: 'the SDXL refiner' };
		case 64:
			return { family: 'mini', title: 'the mini model' };
		case undefined:
			break;
	}
	if (cross) return { family: null, title: `a UNet with a context of ${cross.downShape[1] ?? 0} channels` };
	const deep = modules.some((m) => /transformer_blocks_[1-9]/.test(m.name)) || names.some((name) => name.startsWith('lora_te2_'));
	return deep ? { family: 'sdxl', title: 'SDXL' } : { family: null, title: 'an unknown architecture' };
}

const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

interface Draft {
	part: ModulePart;
	down?: string;
	up?: string;
	alpha?: string;
}

/**
 * Groups the tensors of an opened file.
 * @throws LoraError when it is no LoRA, or one of another kind
 */
export async function readLora(opened: SafetensorsFile): Promise<RawLora> {
	const file = isLoha(opened) ? lohaAsLora(opened) : opened;
	const names = [...file.tensors.keys()];
	const dora = names.find((name) => name.endsWith('.dora_scale') || name.includes('lora_magnitude_vector'));
	if (dora) {
		throw new LoraError(
			'lora.dora',
			dora,
			'This is a DoRA. Its effect is not a plain addition to the weights, so it cannot be used here. Train or choose an ordinary LoRA.'
		);
	}
	for (const [pattern, kind] of OTHER_KINDS) {
		const name = names.find((n) => pattern.test(n));
		if (name)
			throw new LoraError('lora.otherKind', name, `This file holds ${kind}, not an ordinary LoRA, and cannot be used here. Choose a LoRA or LoCon file.`, {
				kind
			});
	}
	const drafts = new Map<string, Draft>();
	const unknown: string[] = [];
	for (const name of names) {
		const key = splitKey(name);
		if (!key) {
			unknown.push(name);
			continue;
		}
		const draft = drafts.get(key.module) ?? { part: key.part };
		draft[key.role] = name;
		drafts.set(key.module, draft);
	}
	const modules: RawModule[] = [];
	for (const [name, draft] of drafts) modules.push(await finish(file, name, draft));
	const looksLike = lookalike(modules, names);
	if (modules.length === 0) {
		if (looksLike.title !== 'an unknown architecture' && unknown.some((name) => /lora/i.test(name))) throw otherModel(looksLike, 0, names.length);
		throw new LoraError(
			'lora.notLora',
			'',
			`None of the ${names.length} tensors is a LoRA factor. Choose a LoRA file (.safetensors with lora_down and lora_up tensors).`,
			{
				tensors: names.length
			}
		);
	}
	return { file, modules, unknown, looksLike };
}

/** The refusal for a file of another architecture, with the counts that show it. */
export function otherModel(like: Lookalike, matched: number, total: number): LoraError {
	const message = `This LoRA was made for ${like.title}: ${total - matched} of its ${total} modules do not exist in the open model. Open the model it was made for, or choose another LoRA.`;
	return new LoraError('lora.otherModel', '', message, { looksLike: like.title, matched, unmatched: total - matched, total });
}

async function finish(file: SafetensorsFile, name: string, draft: Draft): Promise<RawModule> {
	const down = draft.down === undefined ? undefined : file.tensors.get(draft.down);
	const up = draft.up === undefined ? undefined : file.tensors.get(draft.up);
	if (!down || !up || draft.down === undefined || draft.up === undefined) {
		const missing = down ? 'up' : 'down';
		throw new LoraError(
			'lora.incomplete',
			name,
			`The module ${name} has no "${missing}" factor: the file is incomplete. Get it again from where it came from.`,
			{ missing }
		);
	}
	const rank = down.shape[0] ?? 0;
	if (rank < 1 || up.shape[1] !== rank || down.shape.length < 2 || product(down.shape) === 0 || product(up.shape.slice(2)) !== 1) {
		const shapes = `down [${down.shape.join(', ')}], up [${up.shape.join(', ')}]`;
		throw new LoraError('lora.shape', name, `The factors of ${name} do not fit together: ${shapes}. The file is damaged or not a plain LoRA.`, { shapes });
	}
	const stored = draft.alpha === undefined ? 0 : ((await file.readFloat32(draft.alpha))[0] ?? 0);
	if (!Number.isFinite(stored)) throw new LoraError('lora.notFinite', draft.alpha ?? name, `The alpha of ${name} is ${stored}. The file is damaged.`);
	return { part: draft.part, name, rank, alpha: stored === 0 ? rank : stored, down: draft.down, up: draft.up, downShape: down.shape, upShape: up.shape };
}
