/**
 * ONNX building blocks that take their weights from a checkpoint: Linear, convolutions, norms, attention.
 * Halves stay halves in the model and are cast to f32 in it, so the model is half as large as its arithmetic is precise.
 * GroupNorm is InstanceNormalization over `[B, groups, rest]`, which is exact and runs everywhere, followed by the channels' scale and shift.
 */
import { FormatError } from '../formats/error';
import type { SafetensorsFile } from '../formats/safetensors';
import { OnnxModel } from '../onnx/model';

export class Network extends OnnxModel {
	readonly #weights = new Map<string, string>();

	/** @param prefix of all keys, e.g. `first_stage_model.` */
	constructor(
		private readonly file: SafetensorsFile,
		private readonly prefix: string
	) {
		super();
	}

	/** A tensor as stored, half or f32; `shape` reinterprets it. @returns value name and its type @throws FormatError `incomplete-model` */
	stored(key: string, shape?: readonly number[]): { value: string; half: boolean } {
		const name = this.prefix + key;
		const entry = this.file.tensors.get(name);
		if (!entry)
			throw new FormatError('incomplete-model', name, `The file lacks ${name}`, 'Choose a complete checkpoint (UNet, VAE and text encoder in one file).');
		const half = entry.dtype === 'F16';
		if (!this.#weights.has(name)) {
			const sizes = shape ?? entry.shape;
			const length = sizes.reduce((product, size) => product * size, half ? 2 : 4);
			const read = async (): Promise<Uint8Array> => {
				if (half) return this.file.readBytes(name);
				const floats = await this.file.readFloat32(name);
				return new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength);
			};
			this.#weights.set(name, this.initializer(name, half ? 'f16' : 'f32', sizes, { length, read }));
		}
		return { value: name, half };
	}

	/** A tensor as f32. */
	weight(key: string, shape?: readonly number[]): string {
		const { value, half } = this.stored(key, shape);
		return half ? this.node('Cast', [value], { to: 1 }) : value;
	}

	/** x·Wᵀ + b; x `[.., K]`. */
	linear(x: string, path: string): string {
		return this.node('Add', [this.node('MatMul', [x, this.transposed(`${path}.weight`)]), this.weight(`${path}.bias`)], {}, path);
	}

	/** `[N, K]` → `[K, N]`, folded into a constant by the runtime. */
	transposed(key: string): string {
		return this.node('Transpose', [this.weight(key)], { perm: [1, 0] });
	}

	/** x `[B, C, H, W]`; pads are top, left, bottom, right. */
	conv(x: string, path: string, options: { stride?: number; pads?: readonly number[] } = {}): string {
		const { stride = 1, pads = [0, 0, 0, 0] } = options;
		return this.node('Conv', [x, this.weight(`${path}.weight`), this.weight(`${path}.bias`)], { strides: [stride, stride], pads }, path);
	}

	/** Over the last axis. */
	layerNorm(x: string, path: string, epsilon = 1e-5): string {
		return this.node('LayerNormalization', [x, this.weight(`${path}.weight`), this.weight(`${path}.bias`)], { axis: -1, epsilon: { float: epsilon } }, path);
	}

	/** x `[B, C, H, W]`, and SiLU when asked. */
	groupNorm(x: string, path: string, options: { channels: number; groups: number; epsilon: number; silu: boolean }): string {
		const { channels, groups, epsilon, silu } = options;
		const grouped = this.node('Reshape', [x, this.ints('shape', [0, groups, -1])]);
		const ones = this.floats('ones', [groups], Array<number>(groups).fill(1));
		const zeros = this.floats('zeros', [groups], Array<number>(groups).fill(0));
		const normal = this.node('InstanceNormalization', [grouped, ones, zeros], { epsilon: { float: epsilon } });
		const back = this.node('Reshape', [normal, this.node('Shape', [x])]);
		const scaled = this.node('Mul', [back, this.weight(`${path}.weight`, [1, channels, 1, 1])]);
		const y = this.node('Add', [scaled, this.weight(`${path}.bias`, [1, channels, 1, 1])], {}, path);
		return silu ? this.silu(y) : y;
	}

	silu(x: string): string {
		return this.node('Mul', [x, this.node('Sigmoid', [x])]);
	}

	scaled(x: string, factor: number): string {
		return this.node('Mul', [x, this.floats('factor', [], [factor])]);
	}
}
