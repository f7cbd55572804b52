/**
 * Truncated SVDs of many weighted sums of low-rank changes at once: W = U·C·Dᵀ per stack, U `[rows, R]`, D `[columns, R]`, C diagonal. Four kernels, each one dispatch for a
 * whole batch: `svd_qr` (both panels of every stack), `svd_core` (Rᵤ·C·R_dᵀ), `svd_jacobi` (its singular values), `svd_project` (back to factors).
 *
 * Rules
 * - QR does not depend on C: a batch that stays on the GPU answers other coefficients with the last three kernels alone.
 * - Householder and one-sided Jacobi are backward stable in f32: the result is within some 1e-6 of ‖U‖·‖C‖·‖D‖ of the optimum, for dependent and zero columns too. Sums that
 *   nearly cancel are small against that: the caller gives them to float64.
 * - No atomics, fixed orders: the same bits every time.
 * Source: Golub & Van Loan 5.2 (Householder QR); Demmel & Veselić 1992 (Jacobi).
 */
import { allocate, readBuffer, STORAGE_USAGE, upload } from '../gpu/buffers';
import type { Gpu } from '../gpu/gpu';
import { pipelinesOf, type Pipeline } from '../gpu/pipelines';
import type { BindingAccess } from '../gpu/shaders';

export interface SvdShape {
	readonly rows: number;
	readonly columns: number;
	/** R */
	readonly rank: number;
}

export interface SvdPanels {
	/** U, column by column. */
	readonly ups: Float32Array;
	/** D, column by column. */
	readonly downs: Float32Array;
}

export interface SvdFactors {
	/** `[kept, columns]` */
	readonly down: Float32Array;
	/** Column by column, `[kept, rows]`. */
	readonly up: Float32Array;
}

const WORKGROUP = 256;
const LANES = 32;
const JACOBI_LANES = 4;
const SWEEPS = 16;
/** Numbers per stack in the table; as in shaders/svd_common.wesl. */
const JOB = 12;

/** Floats a stack takes in the batch's largest buffer. */
export const panelFloats = ({ rows, columns, rank }: SvdShape): number => (rows + columns) * rank;

interface Place extends SvdShape {
	readonly heights: readonly [number, number];
	readonly panels: readonly [number, number];
	readonly small: number;
	/** Of the core in `small`. */
	readonly core: number;
}

function placesOf(shapes: readonly SvdShape[]): { places: Place[]; panels: number; small: number } {
	let [panels, small] = [0, 0];
	const places = shapes.map((shape): Place => {
		const { rows, columns, rank } = shape;
		const heights = [Math.min(rows, rank), Math.min(columns, rank)] as const;
		const place = { ...shape, heights, panels: [panels, panels + rows * rank] as const, small, core: small + 5 * rank };
		panels += panelFloats(shape);
		small += 5 * rank + 2 * heights[0] * heights[1] + heights[1];
		return place;
	});
	return { places, panels, small };
}

interface Stage {
	readonly pipeline: Pipeline;
	readonly group: GPUBindGroup;
}

export class SvdBatch {
	readonly #places: readonly Place[];
	readonly #buffers: GPUBuffer[] = [];

	private constructor(
		private readonly gpu: Gpu,
		places: readonly Place[],
		private readonly panels: GPUBuffer,
		private readonly small: GPUBuffer,
		private readonly smallFloats: number,
		private readonly uniforms: GPUBindGroup
	) {
		this.#places = places;
		this.#buffers.push(panels, small);
	}

	/** Loads the panels and factors them. @throws GpuError when there is no room */
	static async create(gpu: Gpu, shapes: readonly SvdShape[], panelsOf: (index: number) => SvdPanels): Promise<SvdBatch> {
		const { places, panels, small } = placesOf(shapes);
		const uniform = await allocate(gpu, 'svd params', 256, GPUBufferUsage.UNIFORM);
		const uniforms = gpu.device.createBindGroup({
			label: 'svd params',
			layout: pipelinesOf(gpu).uniformLayout,
			entries: [0, 1].map((binding) => ({ binding, resource: { buffer: uniform } }))
		});
		const panelBuffer = await allocate(gpu, 'svd panels', 4 * panels);
		const batch = new SvdBatch(gpu, places, panelBuffer, await allocate(gpu, 'svd cores', 4 * small), small, uniforms);
		batch.#buffers.push(uniform);
		places.forEach((place, i) => {
			const { ups, downs } = panelsOf(i);
			upload(gpu, panelBuffer, 4 * place.panels[0], ups);
			upload(gpu, panelBuffer, 4 * place.panels[1], downs);
		});
		const table = await batch.#table(() => ({ kept: 0, outs: [0, 0], order: [] }));
		await batch.#run('svd_qr', ['read_write', 'read_write', 'read'], [panelBuffer, batch.small, table], [2, places.length, 1], { LANES });
		table.destroy();
		return batch;
	}

	/** What every stack is, as the kernels read it, with the columns to keep behind it. */
	async #table(more: (index: number) => { kept: number; outs: readonly [number, number]; order: readonly number[] }): Promise<GPUBuffer> {
		const numbers: number[] = [];
		const orders: number[] = [];
		this.#places.forEach(({ rows, columns, rank, heights, panels, small }, i) => {
			const { kept, outs, order } = more(i);
			numbers.push(rows, columns, rank, ...heights, ...panels, small, ...outs, kept, this.#places.length * JOB + orders.length);
			orders.push(...order);
		});
		// One more, so that a stack that keeps nothing points at something.
		const table = await allocate(this.gpu, 'svd table', 4 * (numbers.length + orders.length + 1));
		upload(this.gpu, table, 0, Uint32Array.from([...numbers, ...orders, 0]));
		return table;
	}

	async #stage(shader: string, access: BindingAccess, buffers: readonly GPUBuffer[], constants: Readonly<Record<string, number>>): Promise<Stage> {
		const pipeline = await pipelinesOf(this.gpu).get({ shader, conditions: {}, constants: { WORKGROUP, ...constants }, access });
		const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
		return { pipeline, group: this.gpu.device.createBindGroup({ label: shader, layout: pipeline.storageLayout, entries }) };
	}

	async #run(
		shader: string,
		access: BindingAccess,
		buffers: readonly GPUBuffer[],
		workgroups: readonly [number, number, number],
		constants: Readonly<Record<string, number>> = {}
	): Promise<void> {
		const { pipeline, group } = await this.#stage(shader, access, buffers, constants);
		const encoder = this.gpu.device.createCommandEncoder({ label: shader });
		const pass = encoder.beginComputePass({ label: shader });
		pass.setPipeline(pipeline.pipeline);
		pass.setBindGroup(0, group);
		pass.setBindGroup(1, this.uniforms, [0]);
		pass.dispatchWorkgroups(...workgroups);
		pass.end();
		this.gpu.device.queue.submit([encoder.finish()]);
	}

	/** Singular values of every stack for these coefficients (R per stack), unordered. */
	async solve(coefficients: (index: number) => Float64Array): Promise<Float32Array[]> {
		this.#places.forEach((place, i) => upload(this.gpu, this.small, 4 * (place.small + 4 * place.rank), Float32Array.from(coefficients(i))));
		const table = await this.#table(() => ({ kept: 0, outs: [0, 0], order: [] }));
		const largest = Math.max(...this.#places.map(({ heights }) => heights[0] * heights[1]));
		const all: BindingAccess = ['read_write', 'read_write', 'read'];
		await this.#run('svd_core', all, [this.panels, this.small, table], [Math.ceil(largest / WORKGROUP), this.#places.length, 1]);
		await this.#run('svd_jacobi', ['read_write', 'read'], [this.small, table], [1, this.#places.length, 1], { LANES: JACOBI_LANES, SWEEPS });
		const numbers = new Float32Array(await readBuffer(this.gpu, this.small, 0, 4 * this.smallFloats));
		table.destroy();
		return this.#places.map(({ core, heights: [height, count] }) => numbers.slice(core + 2 * height * count, core + 2 * height * count + count));
	}

	/** The given columns of the last `solve` as factors, in that order. */
	async project(columns: (index: number) => readonly number[]): Promise<SvdFactors[]> {
		const orders = this.#places.map((_, i) => columns(i));
		let floats = 0;
		const outs = this.#places.map(({ rows, columns: width }, i): [number, number] => {
			const kept = orders[i]?.length ?? 0;
			const at = floats;
			floats += kept * (rows + width);
			return [at, at + kept * rows];
		});
		const result = await allocate(this.gpu, 'svd result', 4 * floats, STORAGE_USAGE());
		const table = await this.#table((i) => ({ kept: orders[i]?.length ?? 0, outs: outs[i] ?? [0, 0], order: orders[i] ?? [] }));
		try {
			const most = Math.max(1, ...orders.map(({ length }) => length));
			const groups: [number, number, number] = [Math.ceil((most * LANES) / WORKGROUP), this.#places.length, 2];
			await this.#run('svd_project', ['read_write', 'read_write', 'read', 'read_write'], [this.panels, this.small, table, result], groups, { LANES });
			const numbers = new Float32Array(await readBuffer(this.gpu, result, 0, 4 * floats));
			return this.#places.map(({ rows, columns: width }, i) => {
				const [up, down] = outs[i] ?? [0, 0];
				const kept = orders[i]?.length ?? 0;
				return { up: numbers.slice(up, up + kept * rows), down: numbers.slice(down, down + kept * width) };
			});
		} finally {
			table.destroy();
			result.destroy();
		}
	}

	destroy(): void {
		for (const buffer of this.#buffers) buffer.destroy();
	}
}
