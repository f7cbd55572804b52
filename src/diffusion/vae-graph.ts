/**
 * The VAE as a graph, in strips of rows (`graph/strips.ts`): the same layers as on the CPU, f32 throughout (SDXL's overflows in halves).
 * The rule: the result is that of the whole picture. A group norm's statistics are taken over all strips before the first of the next layer begins; a strip of a convolution sees the rows
 * above and below it; attention takes its queries in slices, each with all keys. What bounds the memory is that a layer's strips take the place of its input's one by one.
 * Where that is too much, planes beyond a size (`keep`) are not kept at all: rows of them are computed whenever a layer reads some, for the statistics and again for the convolution behind them.
 * SDXL's decoder at 1024² needs 1.8 GiB for its planes, or 0.8 with half as much work again.
 * Channels that are not whole quads (the picture's three) are filled up with zeros.
 */
import type { SafetensorsFile } from '../formats/safetensors';
import { FormatError } from '../formats/error';
import { GraphBuilder } from '../graph/builder';
import type { Graph, Value } from '../graph/ir';
import { picture } from '../graph/shape';
import { alikeOf, momentsOf, patchesOf, planeOf, wideAttention, windowOf, type KnownNorm, type Strip, type StripPlane } from '../graph/strips';
import type { VaeConfig } from './config';
import { VAE_EPSILON, type ConvOptions, type Layers, type NormBefore, type VaeNetwork } from './vae-network';

/** A tensor of the file as the graph wants it: `[O, I, k, k]` becomes `[O, k·k·I]` in the order (ky, kx, i), outputs and inputs filled up to whole quads. */
export interface VaeConstant {
	readonly name: string;
	readonly fileShape: readonly number[];
	readonly shape: readonly number[];
}

export interface VaeGraph {
	readonly graph: Graph;
	/** `[1, H, W, C]`, C a multiple of 4. */
	readonly input: Value;
	readonly output: StripPlane;
	readonly constants: readonly VaeConstant[];
}

export interface GraphLimits {
	/** Bytes of one strip's operands. */
	readonly strip: number;
	/** Bytes of one slice's attention scores. */
	readonly scores: number;
	/** Bytes of a plane beyond which its rows are computed when they are read; absent: all planes are kept. What a block adds to its input is kept in any case: it takes the input's place. */
	readonly keep?: number | undefined;
}

type Rows = readonly [from: number, to: number];

/** A plane in strips, or one whose strips are made when somebody reads them. */
interface VaePlane extends StripPlane {
	readonly made?: { readonly pieces: readonly Rows[]; readonly rows: (from: number, to: number) => Strip };
}

function* stripsIn({ strips, made }: VaePlane): Iterable<Strip> {
	yield* strips;
	for (const [from, to] of made?.pieces ?? []) yield (made as NonNullable<VaePlane['made']>).rows(from, to);
}

export const LIMITS: GraphLimits = { strip: 64 * 2 ** 20, scores: 64 * 2 ** 20 };

export const wholeQuads = (count: number): number => 4 * Math.ceil(count / 4);

/** @param size of the network's input @throws FormatError `incomplete-model` */
export async function buildVae(
	network: VaeNetwork,
	config: VaeConfig,
	file: Pick<SafetensorsFile, 'tensors'>,
	size: { readonly channels: number; readonly height: number; readonly width: number },
	limits: GraphLimits = LIMITS
): Promise<VaeGraph> {
	const net = new GraphNetwork(file, config.prefix, limits);
	const input = net.builder.input('input', [1, size.height, size.width, wholeQuads(size.channels)]);
	const { height, width, channels, ...result } = await network(net, config, planeOf(input) as VaePlane);
	const output = { strips: [...stripsIn({ height, width, channels, ...result })], height, width, channels };
	return { graph: net.builder.finish(output.strips.map(({ value }) => value)), input, output, constants: [...net.constants.values()] };
}

class GraphNetwork implements Layers<VaePlane> {
	readonly builder = new GraphBuilder({ storage: 'f32' });
	readonly constants = new Map<string, VaeConstant>();

	constructor(
		private readonly file: Pick<SafetensorsFile, 'tensors'>,
		private readonly prefix: string,
		private readonly limits: GraphLimits
	) {}

	conv(x: VaePlane, path: string, { norm, resample, residual }: ConvOptions<VaePlane> = {}): Promise<VaePlane> {
		const weight = this.weight(`${path}.weight`);
		const channels = weight.shape[0] ?? 0;
		const kernel = (weight.shape[1] ?? 0) === x.channels ? 1 : 3;
		const scale = resample === 'down' ? 0.5 : resample === 'up' ? 2 : 1;
		const size = { height: x.height * scale, width: x.width * scale, channels };
		const known = norm && this.norm(x, norm);
		const bias = this.vector(`${path}.bias`);
		const rows = (from: number, to: number): Strip => {
			if (resample === 'down') {
				const value = this.builder.linear(patchesOf(this.builder, this.window(x, 2 * from, 2 * to + 1, path, known), path), weight, { bias });
				return { value, from, rows: to - from, top: 0 };
			}
			// Rows beyond the strip are made too, without having seen their neighbours, and read by nobody; beyond the picture's edge the convolution sees zeros by itself.
			const halo = kernel === 1 ? 0 : 1;
			const [first, last] = [Math.max(0, Math.floor(from / scale) - halo), Math.min(x.height, Math.ceil(to / scale) + halo)];
			const like = { from, rows: to - from, top: from - first * scale, stored: (last - first) * scale };
			const seen = this.window(x, first, last, path, known);
			const options = { bias, residual: residual && this.residual(residual, like, path) };
			const value = kernel === 1 ? this.builder.linear(seen, weight, options) : this.builder.conv(seen, weight, { ...options, upsample: resample === 'up' });
			return { value, from, rows: to - from, top: like.top };
		};
		const perRow = 4 * size.width * Math.max(channels, (resample === 'down' ? 9 : 1) * x.channels, residual?.plane.channels ?? 0);
		const pieces = stripsOf(size.height, this.limits.strip / perRow);
		if (!residual && 4 * size.height * size.width * channels > (this.limits.keep ?? Infinity))
			return Promise.resolve({ ...size, strips: [], made: { pieces, rows } });
		return Promise.resolve({ ...size, strips: pieces.map(([from, to]) => rows(from, to)) });
	}

	attention(x: VaePlane, path: string, groups: number): Promise<VaePlane> {
		const { builder } = this;
		const { height, width, channels } = x;
		const known = this.norm(x, { path: `${path}.norm`, groups, silu: false });
		const linear = (of: Value, part: string, residual?: Value): Value =>
			builder.linear(of, this.weight(`${path}.${part}.weight`), { bias: this.vector(`${path}.${part}.bias`), residual });
		// Keys in whole quads: rows of zeros below the picture, which the softmax leaves out.
		let rows = height;
		while ((rows * width) % 4 !== 0) rows++;
		const all = this.window(x, 0, rows, path, known);
		const [k, v] = [linear(all, 'k'), linear(all, 'v')];
		const strips = stripsOf(height, this.limits.scores / (4 * rows * width * width)).map(([from, to]): Strip => {
			const q = linear(this.window(x, from, to, `${path}.q`, known), 'q');
			const mixed = wideAttention(builder, q, k, v, height * width, path);
			return { value: linear(mixed, 'proj_out', this.window(x, from, to, path)), from, rows: to - from, top: 0 };
		});
		return Promise.resolve({ strips, height, width, channels });
	}

	private residual(
		{ plane, shortcut }: { plane: VaePlane; shortcut?: string | undefined },
		like: { from: number; rows: number; top: number; stored: number },
		path: string
	): Value {
		const first = like.from - like.top;
		const same = plane.made ? this.window(plane, first, first + like.stored, path) : alikeOf(this.builder, plane, like, path);
		return shortcut ? this.builder.linear(same, this.weight(`${shortcut}.weight`), { bias: this.vector(`${shortcut}.bias`) }) : same;
	}

	private window(x: VaePlane, from: number, to: number, name: string, norm?: KnownNorm): Value {
		if (!x.made) return windowOf(this.builder, x, from, to, name, norm);
		return windowOf(this.builder, { ...x, strips: [x.made.rows(Math.max(0, from), Math.min(x.height, to))] }, from, to, name, norm);
	}

	private norm(x: VaePlane, { path, groups, silu }: NormBefore): KnownNorm {
		const moments = momentsOf(this.builder, { strips: stripsIn(x), channels: x.channels }, groups, path);
		return { moments, gamma: this.vector(`${path}.weight`), beta: this.vector(`${path}.bias`), eps: VAE_EPSILON, silu };
	}

	private weight(key: string): Value {
		const fileShape = this.shapeOf(key);
		const [outputs = 1, inputs = 1, kernel = 1] = fileShape;
		return this.constant(key, fileShape, [wholeQuads(outputs), kernel * kernel * wholeQuads(inputs)]);
	}

	private vector(key: string): Value {
		const fileShape = this.shapeOf(key);
		return this.constant(key, fileShape, [wholeQuads(fileShape[0] ?? 1)]);
	}

	private constant(key: string, fileShape: readonly number[], shape: readonly number[]): Value {
		const name = this.prefix + key;
		this.constants.set(name, { name, fileShape, shape });
		return this.builder.constant(name, shape);
	}

	private shapeOf(key: string): readonly number[] {
		const name = this.prefix + key;
		const entry = this.file.tensors.get(name);
		if (entry) return entry.shape;
		throw new FormatError('incomplete-model', name, `The file lacks ${name}`, 'Choose a complete checkpoint (UNet, VAE and text encoder in one file).');
	}
}

/** `[0, height)` cut into equal pieces of at most `most` rows, even where there is more than one: a doubled picture's strips begin between two of its rows. */
function stripsOf(height: number, most: number): [number, number][] {
	if (height <= most) return [[0, height]];
	const pieces = Math.ceil(height / Math.max(2, 2 * Math.floor(most / 2)));
	const rows = 2 * Math.ceil(height / pieces / 2);
	return Array.from({ length: Math.ceil(height / rows) }, (_, i) => [i * rows, Math.min(height, (i + 1) * rows)]);
}

/** The rows that count, `[C, H, W]`, without channels beyond `channels`. @param read contents of a value */
export async function planesOf({ strips, height, width }: StripPlane, channels: number, read: (value: Value) => Promise<Float32Array>): Promise<Float32Array> {
	const out = new Float32Array(channels * height * width);
	for (const { value, from, rows, top } of strips) {
		const data = await read(value);
		const stored = picture(value).channels;
		for (let p = 0; p < rows * width; p++) {
			for (let c = 0; c < channels; c++) out[c * height * width + from * width + p] = data[(top * width + p) * stored + c] ?? 0;
		}
	}
	return out;
}

/** A tensor's numbers in the order of `VaeConstant`. */
export function arranged(data: Float32Array, { fileShape, shape }: VaeConstant): Float32Array {
	const [outputs = 1, inputs = 1, kernel = 1] = fileShape;
	const taps = kernel * kernel;
	if (fileShape.length === 1 || (taps === 1 && outputs % 4 === 0 && inputs % 4 === 0)) return filled(data, shape[0] ?? 0, fileShape);
	const wide = wholeQuads(inputs);
	const out = new Float32Array(wholeQuads(outputs) * taps * wide);
	for (let o = 0, at = 0; o < outputs; o++) {
		for (let i = 0; i < inputs; i++) for (let tap = 0; tap < taps; tap++) out[(o * taps + tap) * wide + i] = data[at++] as number;
	}
	return out;
}

function filled(data: Float32Array, size: number, fileShape: readonly number[]): Float32Array {
	if (fileShape.length > 1 || data.length === size) return data;
	const out = new Float32Array(size);
	out.set(data);
	return out;
}
