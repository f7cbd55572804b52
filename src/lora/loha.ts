/**
 * LoHa (LyCORIS): a module's change is the element-wise product of two low-rank matrices, ΔW = alpha/r · (B₁·A₁) ∘ (B₂·A₂), so that 2r factors reach rank r².
 *
 * Files: `hada_w1_a [out, r]` = B₁, `hada_w1_b [r, in·k·k]` = A₁, the same for w2; alpha.
 * Tucker form (3×3, with `hada_t1 [r, r, k, k]`, `hada_w1_a [r, out]`, `hada_w1_b [r, in]`): B₁ = w1_aᵀ and A₁[i, (q,ky,kx)] = Σ_j t1[i,j,ky,kx]·w1_b[j,q], which is
 * exactly the plain form. Written is the plain form, LyCORIS's default and read by everyone; both are read.
 *
 * Rule: to everything but training such a file is the plain LoRA of rank r² that it equals: (Σᵢ bᵢaᵢ) ∘ (Σⱼ dⱼcⱼ) = Σᵢⱼ (bᵢ∘dⱼ)(aᵢ∘cⱼ), alpha becoming alpha·r. So merging,
 * plotting, measuring and using one as a copier need no code of their own.
 * Source: LyCORIS' documentation of its LoHa module, FedPara (Hyeon-Woo et al. 2022).
 */
import type { SafetensorsFile, TensorEntry } from '../formats/safetensors';
import { LoraError } from './error';

/** up `[N, r]`, down `[r, K]`, in the order of the file (K = in·k·k as PyTorch has it). */
export interface Half {
	readonly down: Float32Array;
	readonly up: Float32Array;
}

/** The plain factors of rank r² of a product of two pairs of rank r. */
export function expandLoha(one: Half, two: Half, rank: number): Half {
	const columns = one.down.length / rank;
	const rows = one.up.length / rank;
	const wide = rank * rank;
	const down = new Float32Array(wide * columns);
	const up = new Float32Array(rows * wide);
	for (let i = 0; i < rank; i++) {
		for (let j = 0; j < rank; j++) {
			const at = i * rank + j;
			for (let k = 0; k < columns; k++) down[at * columns + k] = (one.down[i * columns + k] ?? 0) * (two.down[j * columns + k] ?? 0);
			for (let n = 0; n < rows; n++) up[n * wide + at] = (one.up[n * rank + i] ?? 0) * (two.up[n * rank + j] ?? 0);
		}
	}
	return { down, up };
}

/** Shapes of one module of a file, checked. */
interface LohaShape {
	readonly stem: string;
	readonly rank: number;
	readonly outFeatures: number;
	/** `[in]`, or `[in, k, k]` of a convolution in Tucker form; in the plain form the file does not tell `[in·k·k]` apart. */
	readonly input: readonly number[];
	readonly tucker: boolean;
}

const MARK = '.hada_w1_a';

export function isLoha(file: SafetensorsFile): boolean {
	return [...file.tensors.keys()].some((name) => name.endsWith(MARK));
}

export function isLohaModule(file: SafetensorsFile, stem: string): boolean {
	return file.tensors.has(stem + MARK);
}

function shapeOf(file: SafetensorsFile, stem: string): LohaShape {
	const shape = (part: string): readonly number[] | undefined => file.tensors.get(`${stem}.${part}`)?.shape;
	const [a1, b1, a2, b2, t1, t2] = ['hada_w1_a', 'hada_w1_b', 'hada_w2_a', 'hada_w2_b', 'hada_t1', 'hada_t2'].map(shape);
	const missing = !a1 || !b1 || !a2 || !b2 || (t1 === undefined) !== (t2 === undefined);
	if (missing) {
		throw new LoraError(
			'lora.incomplete',
			stem,
			`The LoHa module ${stem} lacks one of its factors: the file is incomplete. Get it again from where it came from.`,
			{
				missing: 'hada'
			}
		);
	}
	const tucker = t1 !== undefined;
	const rank = b1[0] ?? 0;
	const outFeatures = (tucker ? a1[1] : a1[0]) ?? 0;
	const input = tucker ? [b1[1] ?? 0, ...t1.slice(2)] : [b1[1] ?? 0];
	const same = (x: readonly number[], y: readonly number[]): boolean => x.length === y.length && x.every((size, i) => size === y[i]);
	const fits = same(a1, a2) && same(b1, b2) && rank > 0 && outFeatures > 0 && (input[0] ?? 0) > 0 && (tucker ? a1[0] : a1[1]) === rank;
	const kernels = !tucker || (t1.length === 4 && t1[0] === rank && t1[1] === rank && same(t1, t2 ?? []));
	if (!fits || !kernels) {
		const shapes = [a1, b1, a2, b2].map((s) => `[${s.join(', ')}]`).join(', ');
		throw new LoraError('lora.shape', stem, `The factors of ${stem} do not fit together: ${shapes}. The file is damaged or not a plain LoHa.`, { shapes });
	}
	return { stem, rank, outFeatures, input, tucker };
}

/** One pair of factors in plain form. */
async function half(file: SafetensorsFile, { stem, rank, outFeatures, input, tucker }: LohaShape, which: 1 | 2): Promise<Half> {
	const [a, b] = [await file.readFloat32(`${stem}.hada_w${which}_a`), await file.readFloat32(`${stem}.hada_w${which}_b`)];
	if (!tucker) return { down: b, up: a };
	const t = await file.readFloat32(`${stem}.hada_t${which}`);
	const [channels, ...kernel] = input;
	const taps = kernel.reduce((product, size) => product * size, 1);
	const up = new Float32Array(outFeatures * rank);
	for (let i = 0; i < rank; i++) for (let n = 0; n < outFeatures; n++) up[n * rank + i] = a[i * outFeatures + n] ?? 0;
	const columns = (channels ?? 0) * taps;
	const down = new Float32Array(rank * columns);
	for (let i = 0; i < rank; i++) {
		for (let q = 0; q < (channels ?? 0); q++) {
			for (let k = 0; k < taps; k++) {
				let sum = 0;
				for (let j = 0; j < rank; j++) sum += (t[(i * rank + j) * taps + k] ?? 0) * (b[j * (channels ?? 0) + q] ?? 0);
				down[i * columns + q * taps + k] = sum;
			}
		}
	}
	return { down, up };
}

/** Both pairs of a module as they stand, for going on with its training. `K` in the order of the file. */
export async function readLoha(file: SafetensorsFile, stem: string): Promise<{ rank: number; one: Half; two: Half }> {
	const shape = shapeOf(file, stem);
	return { rank: shape.rank, one: await half(file, shape, 1), two: await half(file, shape, 2) };
}

const DOWN = '.lora_down.weight';
const UP = '.lora_up.weight';

/** Prefixes of the modules, in the file's order. */
function lohaStems(file: SafetensorsFile): string[] {
	return [...file.tensors.keys()].filter((name) => name.endsWith(MARK)).map((name) => name.slice(0, -MARK.length));
}

/** 3×3 layers by name: a plain LoHa does not say which of its columns are kernels. */
const CONV3 = /_(conv1|conv2|in_layers_2|out_layers_3|op|conv)$/;

/**
 * The file as a plain LoRA: other tensors are as they are. Nothing is read before it is asked for.
 * @throws LoraError when a module is incomplete or its shapes contradict each other
 */
export function lohaAsLora(file: SafetensorsFile): SafetensorsFile {
	const tensors = new Map([...file.tensors].filter(([name]) => !/\.hada_[wt]\d/.test(name)));
	const made = new Map<string, () => Promise<Float32Array>>();
	const add = (name: string, shape: readonly number[], make: () => Promise<Float32Array>): void => {
		const entry: TensorEntry = { dtype: 'F32', shape, offset: 0, length: 0 };
		tensors.set(name, entry);
		made.set(name, make);
	};
	for (const stem of lohaStems(file)) {
		const shape = shapeOf(file, stem);
		const wide = shape.rank * shape.rank;
		const whole = shape.input[0] ?? 0;
		const kernel = !shape.tucker && CONV3.test(stem) && whole % 9 === 0 ? [whole / 9, 3, 3] : shape.input;
		// Down and up of one module are asked for one after the other.
		let last: Promise<Half> | undefined;
		const halves = (): Promise<Half> =>
			(last ??= Promise.all([half(file, shape, 1), half(file, shape, 2)]).then(([one, two]) => expandLoha(one, two, shape.rank)));
		add(stem + DOWN, [wide, ...kernel], async () => (await halves()).down);
		add(stem + UP, [shape.outFeatures, wide, ...kernel.slice(1).map(() => 1)], async () => {
			const { up } = await halves();
			last = undefined;
			return up;
		});
		const alpha = `${stem}.alpha`;
		const stored = file.tensors.has(alpha);
		add(alpha, [], async () => {
			const value = stored ? ((await file.readFloat32(alpha))[0] ?? 0) : 0;
			return Float32Array.of((value === 0 ? shape.rank : value) * shape.rank);
		});
	}
	return {
		...file,
		tensors,
		readBytes: (name) => file.readBytes(name),
		readHalf: (name) => file.readHalf(name),
		readFloat32: (name) => made.get(name)?.() ?? file.readFloat32(name)
	};
}
