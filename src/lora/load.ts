/**
 * A LoRA file brought to a model: every module of the file is found in the UNet, its factors in our layout.
 *
 * Rules
 * - All UNet modules must fit the model; a file that fits only in part is refused with counts and what it looks like, because a LoRA that
 *   silently loses half of its modules looks like a bad LoRA.
 * - proj_in and proj_out may come as Linear `[r, in]` or as 1×1 convolutions `[r, in, 1, 1]`: the memory is the same.
 * - 3×3 down factors `[r, in, ky, kx]` become `[r, (ky, kx, in)]`, our order of convolution weights.
 * - Text-encoder modules are found among `modules` too; those that are not there (a caller that runs the encoder frozen gives none) are left out, and when they would change
 *   anything, a warning says so.
 */
import { openSafetensors } from '../formats/safetensors';
import type { SafetensorsFile } from '../formats/safetensors';
import { bytesSource } from '../formats/source';
import type { ByteSource } from '../formats/source';
import type { Factors } from './init';
import { readableNames } from './keys';
import { LoraError } from './error';
import { downColumns } from './modules';
import type { NetworkModule, TargetModule } from './modules';
import { kernelToColumns } from './layout';
import { isLohaModule, readLoha } from './loha';
import type { Half } from './loha';
import { otherModel, readLora } from './read';
import type { RawLora, RawModule } from './read';

export interface LoadedModule extends NetworkModule, Factors {}

export interface LoadedLora {
	readonly modules: readonly LoadedModule[];
	readonly metadata: Readonly<Record<string, string>>;
	/** Things that are not applied, in words; not fatal. */
	readonly warnings: readonly LoraError[];
}

function fits(raw: RawModule, target: TargetModule): boolean {
	const kernel = target.kind === 'conv3' ? [3, 3] : [1, 1];
	const [, inFeatures, ky = 1, kx = 1] = raw.downShape;
	return raw.upShape[0] === target.outFeatures && inFeatures === target.inFeatures && ky === kernel[0] && kx === kernel[1];
}

async function finite(raw: RawLora, name: string): Promise<Float32Array> {
	const data = await raw.file.readFloat32(name);
	if (!data.every(Number.isFinite))
		throw new LoraError('lora.notFinite', name, `The tensor ${name} holds infinities or NaN: this training collapsed. Choose another file.`);
	return data;
}

/**
 * @param modules all modules of the model's UNet, and of its text encoders where they can be applied
 * @param options.training LoHa modules stay what they are, to go on training them; otherwise they come as the plain factors they equal
 * @throws LoraError (another model, damaged, another kind), FormatError (no safetensors file)
 */
export async function loadLora(
	source: ByteSource | Uint8Array,
	modules: readonly TargetModule[],
	options: { readonly training?: boolean } = {}
): Promise<LoadedLora> {
	const file = await openSafetensors(source instanceof Uint8Array ? bytesSource(source) : source);
	const raw = await readLora(file);
	const byName = new Map(
		modules.flatMap((m) =>
			/^(input_blocks\.[1-9]|middle_block|output_blocks|te[12]\.)/.test(m.path) ? readableNames(m.path).map((name) => [name, m] as const) : []
		)
	);
	const unet = raw.modules.filter((m) => m.part === 'unet');
	const placed = (m: RawModule): { raw: RawModule; target: TargetModule }[] => {
		const target = byName.get(m.name);
		return target && fits(m, target) ? [{ raw: m, target }] : [];
	};
	const inUnet = unet.flatMap(placed);
	const inText = raw.modules.filter((m) => m.part === 'te').flatMap(placed);
	if (inUnet.length < unet.length || (unet.length === 0 && inText.length === 0)) throw refusal(raw, unet, inUnet.length, byName);
	const found = [...inUnet, ...inText];
	const loaded: LoadedModule[] = [];
	for (const { raw: m, target } of found) {
		if (options.training && isLohaModule(file, stemOf(m))) {
			loaded.push(await lohaModule(file, m, target));
			continue;
		}
		const stored = await finite(raw, m.down);
		const down = target.kind === 'conv3' ? kernelToColumns(stored, m.rank, target.inFeatures) : stored.slice();
		if (down.length !== m.rank * downColumns(target)) throw new LoraError('lora.shape', m.down, `${m.down} has an unexpected size.`);
		const { path, kind, inFeatures, outFeatures, block } = target;
		loaded.push({ path, kind, inFeatures, outFeatures, block, rank: m.rank, alpha: m.alpha, down, up: (await finite(raw, m.up)).slice() });
	}
	const order = new Map(modules.map((m, i) => [m.path, i]));
	loaded.sort((a, b) => (order.get(a.path) ?? 0) - (order.get(b.path) ?? 0));
	return { modules: loaded, metadata: raw.file.metadata, warnings: await textEncoderWarning(raw, new Set(inText.map(({ raw: m }) => m.name))) };
}

const stemOf = (m: RawModule): string => m.down.replace(/\.lora_down\.weight$/, '');

/** A LoHa module with both of its pairs. Its raw form has rank r² and alpha·r. */
async function lohaModule(file: SafetensorsFile, m: RawModule, target: TargetModule): Promise<LoadedModule> {
	const stem = stemOf(m);
	const { rank, one, two } = await readLoha(file, stem);
	const { path, kind, inFeatures, outFeatures, block } = target;
	const ours = ({ down, up }: Half): Half => {
		if (!down.every(Number.isFinite) || !up.every(Number.isFinite)) {
			throw new LoraError('lora.notFinite', stem, `The module ${stem} holds infinities or NaN: this training collapsed. Choose another file.`);
		}
		return { down: kind === 'conv3' ? kernelToColumns(down, rank, inFeatures) : down.slice(), up: up.slice() };
	};
	return { path, kind, inFeatures, outFeatures, block, rank, alpha: m.alpha / rank, loha: true, ...ours(one), second: ours(two) };
}

function refusal(raw: RawLora, unet: readonly RawModule[], matched: number, byName: ReadonlyMap<string, TargetModule>): LoraError {
	if (matched === 0 || matched < unet.length / 2) return otherModel(raw.looksLike, matched, unet.length);
	const stranger = unet.find((m) => {
		const target = byName.get(m.name);
		return !target || !fits(m, target);
	});
	const values = { matched, unmatched: unet.length - matched, total: unet.length, first: stranger?.name ?? '' };
	return new LoraError(
		'lora.partlyOther',
		values.first,
		`${values.unmatched} of the ${values.total} modules of this LoRA do not fit the open model, first ${values.first}. It was made for a different variant; open that model instead.`,
		values
	);
}

async function textEncoderWarning(raw: RawLora, applied: ReadonlySet<string>): Promise<LoraError[]> {
	const te = raw.modules.filter((m) => m.part === 'te' && !applied.has(m.name));
	for (const m of te) {
		if ((await finite(raw, m.up)).some((x) => x !== 0)) {
			const values = { modules: te.length };
			return [
				new LoraError(
					'lora.textEncoderIgnored',
					m.name,
					`The ${te.length} text-encoder modules of this LoRA are not applied here, only its UNet modules.`,
					values
				)
			];
		}
	}
	return [];
}
