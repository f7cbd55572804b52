/**
 * Truncated SVDs of many weighted sums of low-rank changes at once: W = U·C·Dᵀ per stack, U `[rows, R]`, D `[columns, R]`, C diagonal. Each kernel is one dispatch for a whole
 * batch: `svd_qr` (R of both panels of every stack), `svd_core` (Rᵤ·C·R_dᵀ), `svd_jacobi` (its singular values), `svd_weights` and `svd_project` (back to factors).
 *
 * Rules
 * - Factors go to the GPU as their files have them, untouched by JavaScript and as halves where that is what is stored; Q is never formed, since W·v and Wᵀ·u are sums of the
 *   panels' columns. Kernels compile while the factors go up.
 * - R does not depend on C: a batch that stays on the GPU answers other coefficients with the last four kernels alone.
 * - Householder and one-sided Jacobi are backward stable in f32: the result is within some 1e-6 of ‖U‖·‖C‖·‖D‖ of the optimum, for dependent and zero columns too. Sums that
 *   nearly cancel are small against that: the caller gives them to float64.
 * - No atomics, fixed orders: the same bits every time.
 * Source: Demmel, Grigori, Hoemmen & Langou 2012 (QR tile by tile); Demmel & Veselić 1992 (Jacobi).
 */
import { allocate, readBuffer, STORAGE_USAGE, upload } from '../gpu/buffers';
import type { Gpu } from '../gpu/gpu';
import { pipelinesOf, type Pipeline } from '../gpu/pipelines';
import type { ShaderRequest } from '../gpu/shaders';

export interface SvdShape {
	readonly rows: number;
	readonly columns: number;
	/** R: of all parts together. */
	readonly rank: number;
}

/** One LoRA's share of a stack, as in its file. */
export interface SvdPart {
	readonly rank: number;
	/** `[rows, rank]`; 16-bit halves in a batch of halves */
	readonly up: Float32Array | Uint16Array;
	/** `[rank, columns]` */
	readonly down: Float32Array | Uint16Array;
}

export interface SvdValues {
	/** R singular values, unordered. */
	readonly sigma: Float32Array;
	/** Lengths of the columns of U and of D. */
	readonly ups: Float32Array;
	readonly downs: Float32Array;
}

export interface SvdFactors {
	/** `[kept, columns]` */
	readonly down: Float32Array;
	/** `[rows, kept]` */
	readonly up: Float32Array;
}

const WORKGROUP = 256;
const JACOBI_LANES = 4;
const SWEEPS = 16;
/** Floats of a panel in workgroup memory: the 16 KiB every adapter has, less the two reflectors'. */
const TILE = 4080;
/** Results of a projection that one reading of the panel serves. */
const FEW = 8;
/** Numbers per stack in the table; as in shaders/svd_common.wesl. */
const JOB = 10;
/** Columns of a stack at most: one invocation each, and a tile of some rows must fit. */
export const MOST_RANK = 192;

/** Numbers a stack takes in the batch's largest buffer. */
export const panelNumbers = ({ rows, columns, rank }: SvdShape): number => (rows + columns) * rank;

interface Place extends SvdShape {
	readonly panel: number;
	readonly small: number;
	readonly answer: number;
}

function placesOf(shapes: readonly SvdShape[]): { places: Place[]; panels: number; small: number; answers: number } {
	let [panels, small, answers] = [0, 0, 0];
	const places = shapes.map((shape): Place => {
		const place = { ...shape, panel: panels, small, answer: answers };
		panels += panelNumbers(shape);
		small += 4 * shape.rank ** 2 + shape.rank;
		answers += 3 * shape.rank;
		return place;
	});
	return { places, panels, small, answers };
}

interface Choice {
	readonly kept: number;
	readonly outs: readonly [number, number];
}

type Kernel = 'svd_qr' | 'svd_core' | 'svd_jacobi' | 'svd_weights' | 'svd_project';

/** @param lanes invocations of `svd_qr` */
function kernelsOf(halves: boolean, lanes: number): Record<Kernel, ShaderRequest> {
	const common = { WORKGROUP, LANES: 1 };
	const panels = { halves };
	return {
		svd_qr: { shader: 'svd_qr', conditions: panels, constants: { ...common, WORKGROUP: lanes, TILE }, access: ['read', 'read_write', 'read', 'read_write'] },
		svd_core: { shader: 'svd_core', conditions: {}, constants: common, access: ['read_write', 'read'] },
		svd_jacobi: { shader: 'svd_jacobi', conditions: {}, constants: { ...common, LANES: JACOBI_LANES, SWEEPS }, access: ['read_write', 'read', 'read_write'] },
		svd_weights: {
			shader: 'svd_weights',
			conditions: {},
			constants: { ...common, WORKGROUP: 64, MOST: MOST_RANK },
			access: ['read', 'read', 'read', 'read', 'read_write']
		},
		svd_project: { shader: 'svd_project', conditions: panels, constants: { ...common, FEW }, access: ['read', 'read', 'read', 'read', 'read_write'] }
	};
}

export class SvdBatch {
	readonly #places: readonly Place[];
	readonly #buffers: GPUBuffer[] = [];
	/** Where each column of the panels is: first number and step, first all of U then all of D, stack by stack. */
	readonly #columns: number[] = [];

	private constructor(
		private readonly gpu: Gpu,
		places: readonly Place[],
		private readonly panels: GPUBuffer,
		private readonly small: GPUBuffer,
		private readonly answers: GPUBuffer,
		private readonly uniforms: GPUBindGroup,
		/** Bytes of a number in the panels. */
		private readonly width: number,
		private readonly kernels: Readonly<Record<Kernel, ShaderRequest>>
	) {
		this.#places = places;
		this.#buffers.push(panels, small, answers);
	}

	/**
	 * Loads the panels and factors them; parts are asked for one stack after the other.
	 * @param halves all factors come as halves, each with an even number of them
	 * @throws GpuError when there is no room
	 */
	static async create(gpu: Gpu, shapes: readonly SvdShape[], partsOf: (index: number) => Promise<readonly SvdPart[]>, halves = false): Promise<SvdBatch> {
		const { places, panels, small, answers } = placesOf(shapes);
		const lanes = Math.max(32, 32 * Math.ceil(Math.max(...shapes.map(({ rank }) => rank)) / 32));
		const kernels = kernelsOf(halves, lanes);
		for (const kernel of Object.values(kernels))
			pipelinesOf(gpu)
				.get(kernel)
				.catch(() => undefined); // whoever runs it is told
		const width = halves ? 2 : 4;
		const uniform = await allocate(gpu, 'svd params', 256, GPUBufferUsage.UNIFORM);
		const uniforms = gpu.device.createBindGroup({
			label: 'svd params',
			layout: pipelinesOf(gpu).uniformLayout,
			entries: [0, 1].map((binding) => ({ binding, resource: { buffer: uniform } }))
		});
		const buffers = [
			await allocate(gpu, 'svd panels', width * panels),
			await allocate(gpu, 'svd cores', 4 * small),
			await allocate(gpu, 'svd values', 4 * answers)
		] as const;
		const batch = new SvdBatch(gpu, places, ...buffers, uniforms, width, kernels);
		batch.#buffers.push(uniform);
		try {
			for (const [i, place] of places.entries()) batch.#load(place, await partsOf(i));
			const table = await batch.#table(() => ({ kept: 0, outs: [0, 0] }));
			await batch.#run('svd_qr', [buffers[0], buffers[1], table, buffers[2]], [2, places.length, 1]);
			table.destroy();
		} catch (error) {
			batch.destroy();
			throw error;
		}
		return batch;
	}

	#load({ rows, columns, panel }: Place, parts: readonly SvdPart[]): void {
		let at = panel;
		const [ups, downs]: [number[], number[]] = [[], []];
		for (const { rank, up, down } of parts) {
			upload(this.gpu, this.panels, this.width * at, up);
			for (let j = 0; j < rank; j++) ups.push(at + j, rank);
			at += rank * rows;
			upload(this.gpu, this.panels, this.width * at, down);
			for (let j = 0; j < rank; j++) downs.push(at + j * columns, 1);
			at += rank * columns;
		}
		for (const list of [ups, downs]) for (const number of list) this.#columns.push(number);
	}

	/** What every stack is, as the kernels read it, with the places of its columns behind. */
	async #table(choose: (index: number) => Choice): Promise<GPUBuffer> {
		const numbers: number[] = [];
		let columns = this.#places.length * JOB;
		this.#places.forEach(({ rows, columns: width, rank, small, answer }, i) => {
			const { kept, outs } = choose(i);
			numbers.push(rows, width, rank, columns, columns + 2 * rank, small, answer, ...outs, kept);
			columns += 4 * rank;
		});
		const table = await allocate(this.gpu, 'svd table', 4 * columns);
		upload(this.gpu, table, 0, Uint32Array.from(numbers));
		upload(this.gpu, table, 4 * numbers.length, Uint32Array.from(this.#columns));
		return table;
	}

	async #run(kernel: Kernel, buffers: readonly GPUBuffer[], workgroups: readonly [number, number, number]): Promise<void> {
		const pipeline: Pipeline = await pipelinesOf(this.gpu).get(this.kernels[kernel]);
		const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
		const group = this.gpu.device.createBindGroup({ label: kernel, layout: pipeline.storageLayout, entries });
		const encoder = this.gpu.device.createCommandEncoder({ label: kernel });
		const pass = encoder.beginComputePass({ label: kernel });
		pass.setPipeline(pipeline.pipeline);
		pass.setBindGroup(0, group);
		pass.setBindGroup(1, this.uniforms, [0]);
		pass.dispatchWorkgroups(...workgroups);
		pass.end();
		this.gpu.device.queue.submit([encoder.finish()]);
	}

	/** Singular values of every stack for these coefficients (R per stack). */
	async solve(coefficients: (index: number) => Float64Array): Promise<SvdValues[]> {
		this.#places.forEach(({ small, rank }, i) => upload(this.gpu, this.small, 4 * (small + 4 * rank ** 2), Float32Array.from(coefficients(i))));
		const table = await this.#table(() => ({ kept: 0, outs: [0, 0] }));
		const largest = Math.max(...this.#places.map(({ rank }) => rank)) ** 2;
		await this.#run('svd_core', [this.small, table], [Math.ceil(largest / WORKGROUP), this.#places.length, 1]);
		await this.#run('svd_jacobi', [this.small, table, this.answers], [1, this.#places.length, 1]);
		const numbers = new Float32Array(await readBuffer(this.gpu, this.answers, 0, this.answers.size));
		table.destroy();
		return this.#places.map(({ answer, rank }) => {
			const part = (k: number): Float32Array => numbers.slice(answer + k * rank, answer + (k + 1) * rank);
			return { sigma: part(0), ups: part(1), downs: part(2) };
		});
	}

	/** The given columns of the last `solve` as factors, in that order. */
	async project(columns: (index: number) => readonly number[]): Promise<SvdFactors[]> {
		const kept = this.#places.map((_, i) => columns(i));
		const count = (i: number): number => kept[i]?.length ?? 0;
		let [floats, weightFloats] = [0, 0];
		const heads: number[] = [];
		const order: number[] = [];
		const outs = this.#places.map(({ rows, columns: width, rank }, i): [number, number] => {
			const at = floats;
			heads.push(2 * this.#places.length + order.length, weightFloats);
			for (const column of kept[i] ?? []) order.push(column);
			floats += count(i) * (rows + width);
			weightFloats += 2 * count(i) * rank;
			return [at, at + count(i) * rows];
		});
		const none = { up: new Float32Array(0), down: new Float32Array(0) };
		if (floats === 0) return this.#places.map(() => none);
		const made: GPUBuffer[] = [];
		const make = async (label: string, size: number): Promise<GPUBuffer> => {
			const buffer = await allocate(this.gpu, label, 4 * size, STORAGE_USAGE());
			made.push(buffer);
			return buffer;
		};
		try {
			const result = await make('svd result', floats);
			const weights = await make('svd weights', weightFloats);
			const orders = await make('svd order', heads.length + order.length);
			upload(this.gpu, orders, 0, Uint32Array.from([...heads, ...order]));
			const table = await this.#table((i) => ({ kept: count(i), outs: outs[i] ?? [0, 0] }));
			made.push(table);
			const most = Math.max(...kept.map(({ length }) => length));
			const { panels, small, answers } = this;
			await this.#run('svd_weights', [small, table, answers, orders, weights], [most, this.#places.length, 1]);
			const longest = Math.max(...this.#places.map(({ rows, columns: width }) => Math.max(rows, width)));
			const groups = [Math.ceil(longest / WORKGROUP), this.#places.length, 2] as const;
			await this.#run('svd_project', [panels, table, orders, weights, result], groups);
			const numbers = new Float32Array(await readBuffer(this.gpu, result, 0, 4 * floats));
			return this.#places.map(({ rows, columns: width }, i) => {
				const [up, down] = outs[i] ?? [0, 0];
				return { up: numbers.slice(up, up + count(i) * rows), down: numbers.slice(down, down + count(i) * width) };
			});
		} finally {
			for (const buffer of made) buffer.destroy();
		}
	}

	destroy(): void {
		for (const buffer of this.#buffers) buffer.destroy();
	}
}
