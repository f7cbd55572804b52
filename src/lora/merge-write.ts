/**
 * A merge as a file: kohya's names for the family, factors in the chosen type, and metadata that says what it was made of.
 *
 * Rules
 * - `ss_network_dim` and `ss_network_alpha` are those of the result, "Dynamic" where ranks differ (kohya's word).
 * - What all parts agree on is kept (`ss_sd_model_name` …); tag frequencies are merged; every parent stands in `ut_parents` with its ratio, weights, hash and recipe.
 * - Hashes are computed over the bytes that are written.
 * Source: the reference on kohya's metadata and on ModelSpec.
 */
import { floatsToBfloats, floatsToHalves } from '../formats/half';
import { sha256 } from '../formats/fingerprint';
import { predictionOf } from '../formats/lora-prediction';
import { writeSafetensors } from '../formats/safetensors-writer';
import type { TensorData } from '../formats/safetensors-writer';
import { printMergeParts } from '../recipe/merge';
import type { MergePrecision, MergeSettings } from '../recipe/merge';
import type { ModelFamily } from '../recipe/recipe';
import { LoraError } from './error';
import type { MergeFile } from './merge-files';
import type { MergedModule } from './merge-types';
import { fileName, isPointwise } from './names';

/** One tensor in the type it is stored in. @throws LoraError `merge.overflow` when halves cannot hold it */
export function stored(name: string, shape: readonly number[], data: Float32Array, precision: MergePrecision): TensorData {
	if (precision === 'f32') return { name, dtype: 'F32', shape, data };
	if (precision === 'bf16') return { name, dtype: 'BF16', shape, data: floatsToBfloats(data) };
	const large = data.findIndex((x) => !(Math.abs(x) < 65520));
	if (large >= 0) {
		const message = `${name} would hold ${data[large] ?? NaN}, which half precision cannot store. Lower the ratios, or save as bf16 or f32.`;
		throw new LoraError('merge.overflow', name, message, { value: String(data[large]) });
	}
	return { name, dtype: 'F16', shape, data: floatsToHalves(data) };
}

export function mergedTensors(modules: readonly MergedModule[], family: ModelFamily, precision: MergePrecision): TensorData[] {
	return modules.flatMap((m) => {
		const name = fileName(m.name, m.part, family);
		const sides = m.kernel.length > 0 ? m.kernel : m.part === 'unet' && isPointwise(m.name, family) ? [1, 1] : [];
		const inFeatures = m.kernel.reduce((columns, side) => columns / side, m.columns);
		const ones = sides.map(() => 1);
		return [
			stored(`${name}.alpha`, [], Float32Array.of(m.alpha), precision),
			stored(`${name}.lora_down.weight`, [m.rank, inFeatures, ...sides], m.down, precision),
			stored(`${name}.lora_up.weight`, [m.rows, m.rank, ...ones], m.up, precision)
		];
	});
}

const dataStart = (file: Uint8Array): number => 8 + Number(new DataView(file.buffer, file.byteOffset, 8).getBigUint64(0, true));

/** The file with the hashes that WebUI and Civitai know it by. */
export async function writeHashed(tensors: readonly TensorData[], metadata: Readonly<Record<string, string>>): Promise<Uint8Array<ArrayBuffer>> {
	const { sshs_model_hash: _model, sshs_legacy_hash: _legacy, ...rest } = metadata;
	const bare = writeSafetensors(tensors, Object.fromEntries(Object.entries(rest).filter(([key]) => key.startsWith('ss_'))));
	const hashes = {
		sshs_model_hash: await sha256(bare.slice(dataStart(bare)).buffer),
		sshs_legacy_hash: (await sha256(bare.slice(0x100000, 0x110000).buffer)).slice(0, 8)
	};
	return writeSafetensors(tensors, { ...rest, ...hashes }).slice();
}

const FAMILY = {
	mini: { base: 'sd_v1', architecture: 'stable-diffusion-v1/lora', implementation: 'diffusers', resolution: '128x128' },
	sd15: { base: 'sd_v1', architecture: 'stable-diffusion-v1/lora', implementation: 'diffusers', resolution: '512x512' },
	sdxl: {
		base: 'sdxl_base_v1-0',
		architecture: 'stable-diffusion-xl-v1-base/lora',
		implementation: 'https://github.com/Stability-AI/generative-models',
		resolution: '1024x1024'
	}
} as const;

/** Kept when all parts say the same. */
const SHARED = ['ss_sd_model_name', 'ss_sd_model_hash', 'ss_new_sd_model_hash', 'ss_clip_skip', 'modelspec.resolution'];

/** Rank and alpha as kohya's metadata has them. */
export function dimensionText(modules: readonly MergedModule[], value: (m: MergedModule) => number): string {
	const values = new Set(modules.filter(({ kernel }) => kernel.length === 0).map(value));
	const [one] = values;
	return values.size === 1 && one !== undefined ? String(one) : 'Dynamic';
}

function convArgs(modules: readonly MergedModule[]): Record<string, string> {
	const conv = new Set(modules.filter(({ kernel }) => kernel.length > 0).map(({ rank }) => rank));
	if (conv.size === 0) return {};
	const text = conv.size === 1 ? String([...conv][0]) : 'Dynamic';
	return { conv_dim: text, conv_alpha: text };
}

function parse(text: string | undefined): unknown {
	try {
		return text === undefined ? undefined : JSON.parse(text);
	} catch {
		return undefined;
	}
}

type Tags = Record<string, Record<string, number>>;

/** Counts of the same folder and tag are added. */
function mergedTags(files: readonly MergeFile[]): Record<string, string> {
	const all: Tags = {};
	for (const { metadata } of files) {
		const tags = parse(metadata['ss_tag_frequency']);
		if (typeof tags !== 'object' || tags === null) continue;
		for (const [folder, counts] of Object.entries(tags as Record<string, unknown>)) {
			if (typeof counts !== 'object' || counts === null) continue;
			const into = (all[folder] ??= {});
			for (const [tag, count] of Object.entries(counts as Record<string, unknown>)) into[tag] = (into[tag] ?? 0) + (Number(count) || 0);
		}
	}
	return Object.keys(all).length > 0 ? { ss_tag_frequency: JSON.stringify(all) } : {};
}

/** All metadata but the hashes. */
export function mergeMetadata(
	modules: readonly MergedModule[],
	family: ModelFamily,
	settings: MergeSettings,
	files: readonly MergeFile[],
	date: Date
): Record<string, string> {
	const facts = FAMILY[family];
	const shared = SHARED.flatMap((key) => {
		const values = new Set(files.map(({ metadata }) => metadata[key]));
		const [value] = values;
		return values.size === 1 && value !== undefined ? [[key, value] as const] : [];
	});
	const parents = settings.parts.map(({ name, ratio, blocks }, i) => {
		const metadata = files[i]?.metadata ?? {};
		const hash = metadata['sshs_model_hash'];
		const recipe = parse(metadata['ut_recipe'] ?? metadata['utsushi.recipe']);
		const grand = parse(metadata['ut_parents']);
		return {
			name,
			ratio,
			...(blocks === null ? {} : { blocks }),
			...(hash === undefined ? {} : { sha256: hash }),
			...(recipe === undefined ? {} : { recipe }),
			...(grand === undefined ? {} : { parents: grand })
		};
	});
	const { name, method, dimension, convDimension, precision } = settings;
	return {
		ss_output_name: name,
		ss_network_module: 'networks.lora',
		ss_network_dim: dimensionText(modules, ({ rank }) => rank),
		ss_network_alpha: dimensionText(modules, ({ alpha }) => alpha),
		ss_network_args: JSON.stringify(convArgs(modules)),
		ss_base_model_version: facts.base,
		ss_v2: 'False',
		...mergedTags(files),
		ss_training_comment: `merged: ${printMergeParts(settings.parts)}`,
		'modelspec.sai_model_spec': '1.0.1',
		'modelspec.architecture': facts.architecture,
		'modelspec.implementation': facts.implementation,
		'modelspec.title': name,
		'modelspec.resolution': facts.resolution,
		...Object.fromEntries(shared),
		// One part that was trained for velocity is enough: all go with one model.
		'modelspec.prediction_type': files.some(({ metadata }) => predictionOf(metadata)) ? 'v' : 'epsilon',
		'modelspec.date': date.toISOString().replace(/\.\d+Z$/, 'Z'),
		'modelspec.merged_from': settings.parts.map((part) => part.name).join(', '),
		ut_parents: JSON.stringify(parents),
		ut_merge: JSON.stringify({ method, dimension, convDimension, precision, ...(settings.clamp ? { clamp: true } : {}) })
	};
}

/** The whole file. */
export async function writeMerge(
	modules: readonly MergedModule[],
	family: ModelFamily,
	settings: MergeSettings,
	files: readonly MergeFile[],
	date: Date
): Promise<Uint8Array<ArrayBuffer>> {
	return writeHashed(mergedTensors(modules, family, settings.precision), mergeMetadata(modules, family, settings, files, date));
}
