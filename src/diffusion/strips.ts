/**
 * Convolutional networks on pictures of any size in bounded memory: activations lie in JavaScript as planes `[C, H, W]`, and every layer goes over them in strips of rows
 * that ONNX Runtime computes with the rows around them.
 * The rule: the result is that of the whole picture, not of tiles glued together. A group norm is a barrier: its mean and variance are taken over the whole plane (in double
 * precision) before the layer behind it begins, and become one factor and one summand a channel; a strip of a convolution has all rows it reads, and zeros only outside of the
 * picture. Weights are inputs of small graphs, a layer at a time.
 * Source: group norm, Wu & He 2018 (arXiv 1803.08494).
 */
import { FormatError } from '../formats/error';
import type { SafetensorsFile } from '../formats/safetensors';
import { OnnxModel } from '../onnx/model';
import { openSession, type OnnxSession, type OnnxTensor } from '../onnx/session';
import { VAE_EPSILON, type ConvOptions, type Layers, type NormBefore, type Plane } from './vae-network';

/** Counts multiplications; planes have no data. */
export class WorkCounter implements Layers<Plane> {
	total = 0;

	constructor(
		private readonly file: Pick<SafetensorsFile, 'tensors'>,
		private readonly prefix: string
	) {}

	conv(x: Plane, path: string, { resample }: ConvOptions<Plane> = {}): Promise<Plane> {
		const [channels = 0, inputs = 0, kernel = 1] = this.file.tensors.get(`${this.prefix}${path}.weight`)?.shape ?? [];
		const scale = resample === 'down' ? 0.5 : resample === 'up' ? 2 : 1;
		const out = { data: x.data, channels, height: x.height * scale, width: x.width * scale };
		this.total += out.height * out.width * channels * inputs * kernel * kernel;
		return Promise.resolve(out);
	}

	async attention(x: Plane, path: string): Promise<Plane> {
		for (const part of ['q', 'k', 'v', 'proj_out']) await this.conv(x, `${path}.${part}`);
		this.total += 2 * (x.height * x.width) ** 2 * x.channels;
		return x;
	}
}

/** What a graph depends on, apart from sizes. */
interface StageKind {
	readonly norm: 'none' | 'plain' | 'silu';
	readonly stride: 1 | 2;
	readonly up: boolean;
	readonly residual: 'none' | 'plain' | 'shortcut';
}

export interface StripLimits {
	/** Bytes of one operand of a strip. */
	readonly strip: number;
	/** Bytes of one piece of attention scores. */
	readonly scores: number;
}

const LIMITS: StripLimits = { strip: 24 * 2 ** 20, scores: 48 * 2 ** 20 };
/** Networks up to this size in the file keep their weights between calls. */
const KEEP_BELOW = 64 * 2 ** 20;

export class StripNetwork implements Layers<Plane> {
	readonly #sessions = new Map<string, Promise<OnnxSession>>();
	readonly #kept = new Map<string, OnnxTensor>();
	readonly #keep: boolean;

	/** @param prefix of all keys, e.g. `first_stage_model.` @param limits of memory */
	constructor(
		private readonly file: SafetensorsFile,
		private readonly prefix: string,
		private readonly limits: StripLimits = LIMITS
	) {
		let bytes = 0;
		for (const [name, { length }] of file.tensors) if (name.startsWith(prefix)) bytes += length;
		this.#keep = bytes < KEEP_BELOW;
	}

	/** Called after every strip with the multiplications it took; may throw to stop. */
	onWork: (multiplications: number) => void = () => undefined;

	async conv(x: Plane, path: string, options: ConvOptions<Plane> = {}): Promise<Plane> {
		const { norm, resample, residual } = options;
		const [weight, bias] = [await this.#weight(`${path}.weight`), await this.#weight(`${path}.bias`)];
		const [channels = 0, , kernel = 1] = weight.dims;
		const halo = (kernel - 1) / 2;
		const [stride, scale] = resample === 'down' ? ([2, 0.5] as const) : resample === 'up' ? ([1, 2] as const) : ([1, 1] as const);
		const [height, width] = [x.height * scale, x.width * scale];
		const inPlace = residual && !residual.shortcut ? residual.plane.data : undefined;
		const out: Plane = { data: inPlace ?? new Float32Array(channels * height * width), channels, height, width };
		const kind: StageKind = {
			norm: norm ? (norm.silu ? 'silu' : 'plain') : 'none',
			stride,
			up: resample === 'up',
			residual: residual ? (residual.shortcut ? 'shortcut' : 'plain') : 'none'
		};
		const session = await this.#stage(kind);
		const fixed: Record<string, OnnxTensor> = { weight, bias };
		if (norm) Object.assign(fixed, await this.#normed(x, norm));
		if (residual?.shortcut) {
			fixed['shortcutWeight'] = await this.#weight(`${residual.shortcut}.weight`);
			fixed['shortcutBias'] = await this.#weight(`${residual.shortcut}.bias`);
		}
		const perRow = 4 * width * Math.max(channels, x.channels);
		// Even, so that strips of a doubled picture begin between two rows of the original.
		const rows = Math.max(4, 2 * Math.floor(this.limits.strip / perRow / 2));
		for (let start = 0; start < height; start += rows) {
			const end = Math.min(height, start + rows);
			// Rows of the picture that the convolution sees, before doubling; what is missing outside is filled with zeros, what is too much is cut off.
			const [first, last] = stride === 2 ? [2 * start, 2 * end + 1] : [start - halo, end + halo];
			const from = Math.max(0, Math.floor(first / (kind.up ? 2 : 1)));
			const to = Math.min(x.height, Math.ceil(last / (kind.up ? 2 : 1)));
			const factor = kind.up ? 2 : 1;
			const sides = stride === 2 ? [0, 1] : [halo, halo];
			const pads = [0, 0, from * factor - first, sides[0] ?? 0, 0, 0, last - to * factor, sides[1] ?? 0];
			const inputs: Record<string, OnnxTensor> = { ...fixed, x: strip(x, from, to), pads: { dims: [8], data: BigInt64Array.from(pads, BigInt) } };
			if (residual) inputs['residual'] = strip(residual.plane, start, end);
			const { y } = await session.run(inputs);
			put(out, start, end, y?.data as Float32Array);
			this.onWork((end - start) * width * channels * (weight.dims[1] ?? 0) * kernel * kernel);
		}
		return out;
	}

	async attention(x: Plane, path: string, groups: number): Promise<Plane> {
		const norm: NormBefore = { path: `${path}.norm`, groups, silu: false };
		const q = await this.conv(x, `${path}.q`, { norm });
		const k = await this.conv(x, `${path}.k`, { norm });
		const v = await this.conv(x, `${path}.v`, { norm });
		const [channels, pixels] = [x.channels, x.height * x.width];
		const session = await this.#open('attention', attentionModel);
		const all = (plane: Plane): OnnxTensor => ({ dims: [channels, pixels], data: plane.data });
		const step = Math.max(16, Math.floor(this.limits.scores / (4 * pixels)));
		const mixed: Plane = { ...q, data: new Float32Array(q.data.length) };
		const scale: OnnxTensor = { dims: [], data: Float32Array.of(channels ** -0.5) };
		for (let start = 0; start < pixels; start += step) {
			const end = Math.min(pixels, start + step);
			const part = new Float32Array(channels * (end - start));
			for (let c = 0; c < channels; c++) part.set(q.data.subarray(c * pixels + start, c * pixels + end), c * (end - start));
			const { y } = await session.run({ q: { dims: [channels, end - start], data: part }, k: all(k), v: all(v), scale });
			const rows = y?.data as Float32Array;
			for (let c = 0; c < channels; c++) mixed.data.set(rows.subarray(c * (end - start), (c + 1) * (end - start)), c * pixels + start);
			this.onWork(2 * (end - start) * pixels * channels);
		}
		return this.conv(mixed, `${path}.proj_out`, { residual: { plane: x } });
	}

	/** Frees graphs and weights; they are opened again when needed. */
	async close(): Promise<void> {
		const open = [...this.#sessions.values()];
		this.#sessions.clear();
		this.#kept.clear();
		for (const each of open) await (await each).close();
	}

	/** γ·(x − μ)/√(σ² + ε) + β as factor·x + summand, for each channel. */
	async #normed(x: Plane, { path, groups }: NormBefore): Promise<Record<'factor' | 'summand', OnnxTensor>> {
		const [gamma, beta] = [(await this.#weight(`${path}.weight`)).data, (await this.#weight(`${path}.bias`)).data];
		const per = x.channels / groups;
		const size = per * x.height * x.width;
		const factor = new Float32Array(x.channels);
		const summand = new Float32Array(x.channels);
		for (let group = 0; group < groups; group++) {
			const { mean, variance } = moments(x.data.subarray(group * size, (group + 1) * size));
			for (let c = group * per; c < (group + 1) * per; c++) {
				const scale = Number(gamma[c]) / Math.sqrt(variance + VAE_EPSILON);
				factor[c] = scale;
				summand[c] = Number(beta[c]) - mean * scale;
			}
		}
		const dims = [1, x.channels, 1, 1];
		return { factor: { dims, data: factor }, summand: { dims, data: summand } };
	}

	/** @throws FormatError `incomplete-model` */
	async #weight(key: string): Promise<OnnxTensor> {
		const name = this.prefix + key;
		const kept = this.#kept.get(name);
		if (kept) return kept;
		const entry = this.file.tensors.get(name);
		if (!entry)
			throw new FormatError('incomplete-model', name, `The file lacks ${name}`, 'Choose a complete checkpoint (UNet, VAE and text encoder in one file).');
		const weight = { dims: entry.shape, data: await this.file.readFloat32(name) };
		if (this.#keep) this.#kept.set(name, weight);
		return weight;
	}

	#stage(kind: StageKind): Promise<OnnxSession> {
		return this.#open(JSON.stringify(kind), () => stageModel(kind));
	}

	#open(key: string, make: () => Promise<Uint8Array>): Promise<OnnxSession> {
		const open = this.#sessions.get(key) ?? make().then(openSession);
		this.#sessions.set(key, open);
		open.catch(() => this.#sessions.delete(key));
		return open;
	}
}

function moments(data: Float32Array): { mean: number; variance: number } {
	let sum = 0;
	for (const value of data) sum += value;
	const mean = sum / data.length;
	let squares = 0;
	for (const value of data) squares += (value - mean) * (value - mean);
	return { mean, variance: squares / data.length };
}

/** Rows of a plane as `[1, C, rows, W]`. */
function strip({ data, channels, height, width }: Plane, from: number, to: number): OnnxTensor {
	const dims = [1, channels, to - from, width];
	if (from === 0 && to === height) return { dims, data };
	const size = (to - from) * width;
	const part = new Float32Array(channels * size);
	for (let c = 0; c < channels; c++) part.set(data.subarray((c * height + from) * width, (c * height + to) * width), c * size);
	return { dims, data: part };
}

function put({ data, channels, height, width }: Plane, from: number, to: number, rows: Float32Array): void {
	const size = (to - from) * width;
	for (let c = 0; c < channels; c++) data.set(rows.subarray(c * size, (c + 1) * size), (c * height + from) * width);
}

/** y = conv(pad(double(silu(factor·x + summand)))) + residual, as far as the kind has it. */
function stageModel({ norm, stride, up, residual }: StageKind): Promise<Uint8Array> {
	const net = new OnnxModel();
	let x = net.input('x', 'f32', [1, 'channels', 'rows', 'width']);
	if (norm !== 'none') {
		for (const name of ['factor', 'summand']) net.input(name, 'f32', [1, 'channels', 1, 1]);
		x = net.node('Add', [net.node('Mul', [x, 'factor']), 'summand']);
		if (norm === 'silu') x = net.node('Mul', [x, net.node('Sigmoid', [x])]);
	}
	if (up) {
		const options = { mode: 'nearest', coordinate_transformation_mode: 'asymmetric', nearest_mode: 'floor' };
		x = net.node('Resize', [x, '', net.floats('scales', [4], [1, 1, 2, 2])], options);
	}
	x = net.node('Pad', [x, net.input('pads', 'i64', [8])], { mode: 'constant' });
	const parameters = (name: string): string[] => [
		net.input(name === '' ? 'weight' : `${name}Weight`, 'f32', ['out', 'in', 'kernel', 'kernel']),
		net.input(name === '' ? 'bias' : `${name}Bias`, 'f32', ['out'])
	];
	const conv = net.node('Conv', [x, ...parameters('')], { strides: [stride, stride] });
	let y = conv;
	if (residual !== 'none') {
		const other = net.input('residual', 'f32', [1, 'others', 'height', 'wide']);
		y = net.node('Add', [residual === 'shortcut' ? net.node('Conv', [other, ...parameters('shortcut')], { strides: [1, 1] }) : other, conv]);
	}
	net.output(net.node('Identity', [y], {}, 'y'), 'f32', [1, 'out', 'height', 'wide']);
	return net.encode();
}

/** q `[C, n]`, k and v `[C, N]` → y `[C, n]`. */
function attentionModel(): Promise<Uint8Array> {
	const net = new OnnxModel();
	const [q, k, v] = [net.input('q', 'f32', ['c', 'n']), net.input('k', 'f32', ['c', 'all']), net.input('v', 'f32', ['c', 'all'])];
	const scaled = net.node('Mul', [q, net.input('scale', 'f32', [])]);
	const scores = net.node('Gemm', [scaled, k], { transA: 1 });
	net.output(net.node('Gemm', [v, net.node('Softmax', [scores], { axis: -1 })], { transB: 1 }, 'y'), 'f32', ['c', 'n']);
	return net.encode();
}
