/**
 * LoRAs merged into a checkpoint: W += Σ ratio · block weight · alpha/rank · up·down, tensor by tensor in the order of the file, so that 7 GB pass through a few MB.
 *
 * Rules
 * - Everything else is copied byte for byte; every tensor keeps its type (8-bit floats, which cannot hold a small change, become halves).
 * - All is checked before the first byte is written: shapes, and that every UNet module of the LoRAs has a place. Text encoders that the file lacks are reported.
 */
import { floatsToBfloats, floatsToHalves } from '../formats/half';
import { DTYPES } from '../formats/safetensors';
import type { SafetensorsFile, TensorEntry, TensorType } from '../formats/safetensors';
import { blockRatio, printMergeParts } from '../recipe/merge';
import type { MergePart } from '../recipe/merge';
import { modulePlaces } from './checkpoint-modules';
import type { Place } from './checkpoint-modules';
import { LoraError } from './error';
import { stacksOf } from './merge-files';
import type { MergeFile, Stack } from './merge-files';

export interface BakePlan {
	/** Bytes of the result. */
	readonly bytes: number;
	readonly modules: number;
	readonly warnings: readonly LoraError[];
	/** Hands out the file in order. */
	write(sink: (bytes: Uint8Array) => Promise<void>, onProgress?: (share: number) => void): Promise<void>;
}

interface Change {
	readonly stack: Stack;
	readonly place: Place;
	readonly coefficients: readonly number[];
}

/** Untouched tensors are copied in pieces of this size. */
const PIECE = 16 << 20;

const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** @throws LoraError when the LoRAs do not belong to this checkpoint */
export function planBake(checkpoint: SafetensorsFile, files: readonly MergeFile[], parts: readonly MergePart[]): BakePlan {
	const { stacks } = stacksOf(files);
	const places = modulePlaces(checkpoint.tensors);
	const changes = new Map<string, Change[]>();
	const missing = { unet: [] as string[], te: [] as string[] };
	let modules = 0;
	for (const stack of stacks) {
		const coefficients = parts.map((part) => blockRatio(part, stack.block));
		const place = places.get(stack.name);
		const columns = place ? product(place.shape.slice(1)) : 0;
		if (!place || place.rows !== stack.rows || columns !== stack.columns) missing[stack.part].push(stack.name);
		else if (stack.parts.some(({ lora }) => (coefficients[lora] ?? 0) !== 0)) {
			const list = changes.get(place.tensor) ?? [];
			list.push({ stack, place, coefficients });
			changes.set(place.tensor, list);
			modules++;
		}
	}
	const lost = (names: readonly string[]): LoraError => {
		const message = `${names.length} modules of the LoRAs have no place in this checkpoint, first ${names[0] ?? ''}. Choose a checkpoint of the architecture they were made for.`;
		return new LoraError('merge.notInCheckpoint', names[0] ?? '', message, { modules: names.length, first: names[0] ?? '' });
	};
	if (missing.unet.length > 0) throw lost(missing.unet);
	if (modules === 0) throw new LoraError('merge.nothing', '', 'Nothing would change: every ratio or block weight is 0. Raise a ratio.');
	const order = [...checkpoint.tensors].sort(([, a], [, b]) => a.offset - b.offset);
	const typeOf = (name: string, entry: TensorEntry): TensorType =>
		changes.has(name) && !['F64', 'F32', 'F16', 'BF16'].includes(entry.dtype) ? 'F16' : entry.dtype;
	const header = headerOf(checkpoint, order, typeOf, parts);
	const dataBytes = order.reduce((sum, [name, entry]) => sum + product(entry.shape) * DTYPES[typeOf(name, entry)], 0);
	return {
		bytes: header.length + dataBytes,
		modules,
		warnings: [...files.flatMap(({ warnings }) => warnings), ...(missing.te.length > 0 ? [lost(missing.te)] : [])],
		async write(sink, onProgress) {
			await sink(header);
			let done = 0;
			for (const [name, entry] of order) {
				const own = changes.get(name);
				if (own) await sink(narrowed(name, await changed(checkpoint, name, entry, own), typeOf(name, entry)));
				else for (let at = 0; at < entry.length; at += PIECE) await sink(await checkpoint.source.read(entry.offset + at, Math.min(PIECE, entry.length - at)));
				onProgress?.(++done / order.length);
			}
		}
	};
}

function headerOf(
	{ metadata }: SafetensorsFile,
	order: readonly (readonly [string, TensorEntry])[],
	typeOf: (name: string, entry: TensorEntry) => TensorType,
	parts: readonly MergePart[]
): Uint8Array {
	// A stored hash would be that of another file.
	const { sshs_model_hash: _model, sshs_legacy_hash: _legacy, 'modelspec.hash_sha256': _hash, ...rest } = metadata;
	const from = [rest['modelspec.title'] ?? 'checkpoint', ...parts.map(({ name }) => name)].join(', ');
	const entries: Record<string, unknown> = { __metadata__: { ...rest, 'modelspec.merged_from': from, ut_merged_loras: printMergeParts(parts) } };
	let at = 0;
	for (const [name, entry] of order) {
		const dtype = typeOf(name, entry);
		const length = product(entry.shape) * DTYPES[dtype];
		entries[name] = { dtype, shape: entry.shape, data_offsets: [at, at + length] };
		at += length;
	}
	const json = new TextEncoder().encode(JSON.stringify(entries));
	const length = Math.ceil(json.length / 8) * 8;
	const bytes = new Uint8Array(8 + length).fill(0x20);
	new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
	bytes.set(json, 8);
	return bytes;
}

async function changed(checkpoint: SafetensorsFile, name: string, { shape }: TensorEntry, changes: readonly Change[]): Promise<Float32Array> {
	const weights = (await checkpoint.readFloat32(name)).slice();
	const columns = product(shape.slice(1));
	const row = new Float64Array(columns);
	for (const { stack, place, coefficients } of changes) {
		const parts = stack.parts.filter(({ lora }) => (coefficients[lora] ?? 0) !== 0);
		const pairs = await Promise.all(parts.map(async (part) => ({ ...(await part.load()), rank: part.rank, c: (coefficients[part.lora] ?? 0) * part.scale })));
		for (let i = 0; i < place.rows; i++) {
			row.fill(0);
			for (const { down, up, rank, c } of pairs) {
				for (let r = 0; r < rank; r++) {
					const u = c * (up[i * rank + r] ?? 0);
					if (u === 0) continue;
					for (let k = 0; k < columns; k++) row[k] = (row[k] ?? 0) + u * (down[r * columns + k] ?? 0);
				}
			}
			const at = (place.firstRow + i) * columns;
			for (let k = 0; k < columns; k++) weights[at + k] = (weights[at + k] ?? 0) + (row[k] ?? 0);
		}
	}
	return weights;
}

function narrowed(name: string, weights: Float32Array, dtype: TensorType): Uint8Array {
	if (dtype === 'F16' && weights.some((x) => !(Math.abs(x) < 65520))) {
		throw new LoraError('merge.overflow', name, `${name} would hold a number that half precision cannot store. Lower the ratios.`, { value: name });
	}
	const view = dtype === 'F64' ? Float64Array.from(weights) : dtype === 'F32' ? weights : dtype === 'BF16' ? floatsToBfloats(weights) : floatsToHalves(weights);
	return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}
