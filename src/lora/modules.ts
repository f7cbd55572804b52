/**
 * Which modules of the UNet a network changes, and with which rank and alpha.
 *
 * Rules (the layout every trainer of this kind agrees on)
 * - Always: every Linear and 1×1 convolution inside a transformer, proj_in and proj_out included (SD1.5: 192, SDXL: 722 modules).
 * - With a conv rank: also the residual blocks' convolutions, time_emb_proj and conv_shortcut, and the down/upsampling convolutions
 *   (SD1.5: 278, SDXL: 788). 3×3 kernels take convRank and convAlpha; everything else, 1×1 shortcuts included, takes rank and alpha.
 * - Never: conv_in, conv_out, the time and label embeddings, norms.
 * - A module takes part when its block is selected. With attention `cross` or `self` only modules inside attn2 or attn1 do (LoHa ignores that).
 */
import type { BlockId, PassSettings } from '../recipe/recipe';
import { hasTextModules } from '../recipe/text-encoder';

/** What this room needs to know of a UNet module; `unetModules` of the diffusion room lists them. */
export interface TargetModule {
	/** Path in the checkpoint without prefix, e.g. `input_blocks.1.1.transformer_blocks.0.attn1.to_q`. */
	readonly path: string;
	readonly kind: 'linear' | 'conv1' | 'conv3';
	readonly inFeatures: number;
	readonly outFeatures: number;
	readonly block: BlockId;
}

export interface NetworkModule extends TargetModule {
	readonly rank: number;
	readonly alpha: number;
	/** Two pairs of factors of this rank, whose products are multiplied element by element (`loha.ts`). */
	readonly loha?: true;
	/** Learning rate as a multiple of the pass's; absent: 1. */
	readonly rateFactor?: number;
}

export type NetworkSettings = Pick<PassSettings, 'rank' | 'alpha' | 'convRank' | 'convAlpha'> &
	Partial<Pick<PassSettings, 'network' | 'attention'>> & { readonly blocks: readonly BlockId[] };

const INSIDE = { cross: '.attn2.', self: '.attn1.' } as const;

const BLOCKS = /^(input_blocks|middle_block|output_blocks)\./;

/** Inside a transformer, entry and exit projections included. */
export function isTransformerModule(path: string): boolean {
	return path.includes('.transformer_blocks.') || path.endsWith('.proj_in') || path.endsWith('.proj_out');
}

/** Whether any network of any settings may change this module. */
export function isTarget(path: string): boolean {
	return BLOCKS.test(path) && path !== 'input_blocks.0.0';
}

/** Columns of the down factor, `9·in` for a 3×3 kernel. */
export function downColumns(module: Pick<TargetModule, 'kind' | 'inFeatures'>): number {
	return module.kind === 'conv3' ? module.inFeatures * 9 : module.inFeatures;
}

/** @returns the modules in the model's own order, each with its rank and alpha. */
export function selectModules(modules: readonly TargetModule[], settings: NetworkSettings): NetworkModule[] {
	const blocks = new Set(settings.blocks);
	const loha = settings.network === 'loha';
	const attention = loha ? 'full' : (settings.attention ?? 'full');
	const selected: NetworkModule[] = [];
	for (const { path, kind, inFeatures, outFeatures, block } of modules) {
		if (!isTarget(path) || !blocks.has(block)) continue;
		if (settings.convRank === 0 && !isTransformerModule(path)) continue;
		if (attention !== 'full' && !path.includes(INSIDE[attention])) continue;
		const [rank, alpha] = kind === 'conv3' ? [settings.convRank, settings.convAlpha] : [settings.rank, settings.alpha];
		selected.push({ path, kind, inFeatures, outFeatures, block, rank, alpha, ...(loha ? { loha } : {}) });
	}
	return selected;
}

/** The text encoders' modules of a network, with the rank and alpha of linear layers; none where its settings leave them out (`recipe/text-encoder.ts`). */
export function selectTextModules(modules: readonly TargetModule[], settings: NetworkSettings): NetworkModule[] {
	if (!hasTextModules(settings)) return [];
	const { rank, alpha, network } = settings;
	return modules.map(({ path, kind, inFeatures, outFeatures, block }) => ({
		...{ path, kind, inFeatures, outFeatures, block, rank, alpha },
		...(network === 'loha' ? { loha: true } : {})
	}));
}

/** How many modules a network of all blocks has, without and with a conv rank. */
export function countModules(modules: readonly TargetModule[]): { linear: number; conv: number } {
	const targets = modules.filter((m) => isTarget(m.path));
	return { linear: targets.filter((m) => isTransformerModule(m.path)).length, conv: targets.length };
}

/** Trainable numbers. */
export function countFactors(modules: readonly NetworkModule[]): number {
	return modules.reduce((sum, m) => sum + (m.loha ? 2 : 1) * m.rank * (downColumns(m) + m.outFeatures), 0);
}
