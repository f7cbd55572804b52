/**
 * Writes a network as the `.safetensors` every program reads: kohya names, one `lora_down.weight`, `lora_up.weight` and `alpha` per module, and
 * metadata of strings only. LoHa modules have `hada_w1_a`, `hada_w1_b`, `hada_w2_a`, `hada_w2_b` instead (`loha.ts`).
 *
 * Rules
 * - Tensors of 1×1 convolutions are 4-D (`[r, in, 1, 1]`, `[out, r, 1, 1]`), 3×3 down factors `[r, in, 3, 3]`, Linear ones 2-D; alpha is a 0-D tensor of the same type.
 * - `sshs_model_hash`: SHA-256 of the data block as written, hence after the final rounding. `sshs_legacy_hash`: the first 8 digits of the SHA-256 of the 0x10000 bytes
 *   at 0x100000 of the same file with `ss_*` metadata only (A1111's old model hash).
 * Source: kohya sd-scripts' `precalculate_safetensors_hashes`, as described in the reference.
 */
import { floatsToHalves } from '../formats/half';
import { writeSafetensors } from '../formats/safetensors-writer';
import type { TensorData } from '../formats/safetensors-writer';
import type { ModelFamily } from '../recipe/recipe';
import { LoraError } from './error';
import type { Factors } from './init';
import { kohyaName } from './keys';
import { columnsToKernel } from './layout';
import { downColumns } from './modules';
import type { NetworkModule } from './modules';

export type Precision = 'f16' | 'f32';

function tensor(name: string, shape: readonly number[], data: Float32Array, precision: Precision): TensorData {
	if (precision === 'f32') return { name, dtype: 'F32', shape, data };
	const halves = floatsToHalves(data);
	const overflow = data.findIndex((x) => !(Math.abs(x) < 65520));
	if (overflow >= 0) {
		throw new LoraError(
			'lora.notFinite',
			name,
			`${name} holds ${data[overflow] ?? NaN}, which half precision cannot store: this training collapsed. Save an earlier step or lower the rate.`
		);
	}
	return { name, dtype: 'F16', shape, data: halves };
}

/** The tensors of a file, under the family's names. */
export function loraTensors(modules: readonly (NetworkModule & Factors)[], family: ModelFamily, precision: Precision): TensorData[] {
	return modules.flatMap((m) => {
		const name = kohyaName(m.path, family);
		const kernel = m.kind === 'conv3' ? [3, 3] : m.kind === 'conv1' ? [1, 1] : [];
		const ones = kernel.map(() => 1);
		const down = m.kind === 'conv3' ? columnsToKernel(m.down, m.rank, m.inFeatures) : m.down;
		if (m.second) {
			const columns = downColumns(m);
			const stored = (down: Float32Array): Float32Array => (m.kind === 'conv3' ? columnsToKernel(down, m.rank, m.inFeatures) : down);
			return [
				tensor(`${name}.alpha`, [], Float32Array.of(m.alpha), precision),
				...[m, m.second].flatMap((pair, i) => [
					tensor(`${name}.hada_w${i + 1}_a`, [m.outFeatures, m.rank], pair.up, precision),
					tensor(`${name}.hada_w${i + 1}_b`, [m.rank, columns], stored(pair.down), precision)
				])
			];
		}
		return [
			tensor(`${name}.alpha`, [], Float32Array.of(m.alpha), precision),
			tensor(`${name}.lora_down.weight`, [m.rank, m.inFeatures, ...kernel], down, precision),
			tensor(`${name}.lora_up.weight`, [m.outFeatures, m.rank, ...ones], m.up, precision)
		];
	});
}

async function sha256(bytes: Uint8Array): Promise<string> {
	const digest = await crypto.subtle.digest('SHA-256', bytes.slice());
	return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Offset of the data block. */
function dataStart(file: Uint8Array): number {
	return 8 + Number(new DataView(file.buffer, file.byteOffset, 8).getBigUint64(0, true));
}

/**
 * @param metadata `ss_*`, `modelspec.*` and own keys; the hashes are added here
 * @throws LoraError when a factor is not finite or too large for halves
 */
export async function saveLora(
	modules: readonly (NetworkModule & Factors)[],
	options: { family: ModelFamily; precision: Precision; metadata: Readonly<Record<string, string>> }
): Promise<Uint8Array> {
	const tensors = loraTensors(modules, options.family, options.precision);
	const bare = writeSafetensors(tensors, Object.fromEntries(Object.entries(options.metadata).filter(([key]) => key.startsWith('ss_'))));
	const hashes = {
		sshs_model_hash: await sha256(bare.subarray(dataStart(bare))),
		sshs_legacy_hash: (await sha256(bare.subarray(0x100000, 0x110000))).slice(0, 8)
	};
	return writeSafetensors(tensors, { ...options.metadata, ...hashes });
}
