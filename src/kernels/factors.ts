/**
 * LoRA factors on the GPU: all of a network's matrices in one flat f32 buffer, with twins for gradients and optimizer state.
 *
 * Rules
 * - Every matrix starts at a 256-byte boundary in all twins alike, so a parameter, its gradient and its state share one offset, and the
 *   optimizer runs over the whole buffer at once. The gaps stay zero (Lion and AdamW leave zeros with zero gradient at zero).
 * - A matrix may be stored larger than it is (rank rounded up to a multiple of 4); the rest is zero, and stays zero for the same reason:
 *   a zero row of one factor makes the other factor's gradient column zero.
 */
import { ALIGNMENT, alignUp, allocate, readBuffer, upload } from '../gpu/buffers';
import type { Gpu } from '../gpu/gpu';
import type { StoredTensor } from './weights';

export interface FactorEntry {
	readonly name: string;
	/** As the user and the file see it. */
	readonly shape: readonly number[];
	/** As the graph sees it, when padded: `[rows, columns]` with at least as many rows and columns. */
	readonly storedShape?: readonly number[];
}

export interface FactorOptions {
	readonly trainable: boolean;
	readonly optimizer?: 'lion' | 'adamw';
}

/** Everything an interrupted run needs to go on bit by bit: flat values and optimizer moments, as stored. */
export interface FactorState {
	readonly values: Float32Array;
	readonly moments: readonly Float32Array[];
}

interface Place {
	readonly entry: FactorEntry;
	readonly offset: number;
	readonly rows: number;
	readonly columns: number;
	readonly storedRows: number;
	readonly storedColumns: number;
}

/** Smallest rank the kernels take: a multiple of 4. */
export const paddedRank = (rank: number): number => alignUp(rank, 4);

const columnsOf = (shape: readonly number[]): number => shape.slice(1).reduce((product, size) => product * size, 1);

export class FactorStore {
	readonly #places = new Map<string, Place>();
	readonly #gpu: Gpu;
	readonly #buffers: Promise<GPUBuffer[]>;
	#ready: readonly GPUBuffer[] | undefined;
	/** f32 elements in each flat buffer. */
	readonly elements: number;
	readonly trainable: boolean;
	readonly optimizer: 'lion' | 'adamw' | undefined;

	constructor(gpu: Gpu, entries: readonly FactorEntry[], options: FactorOptions) {
		this.#gpu = gpu;
		this.trainable = options.trainable;
		this.optimizer = options.trainable ? (options.optimizer ?? 'adamw') : undefined;
		let bytes = 0;
		for (const entry of entries) {
			const rows = entry.shape[0] ?? 1;
			const columns = columnsOf(entry.shape);
			const storedRows = entry.storedShape?.[0] ?? rows;
			const storedColumns = entry.storedShape ? columnsOf(entry.storedShape) : columns;
			if (storedRows < rows || storedColumns < columns) throw new Error(`Factor ${entry.name}: stored smaller than it is.`);
			if (this.#places.has(entry.name)) throw new Error(`Factor ${entry.name} is listed twice.`);
			this.#places.set(entry.name, { entry, offset: bytes, rows, columns, storedRows, storedColumns });
			bytes = alignUp(bytes + storedRows * storedColumns * 4, ALIGNMENT);
		}
		const total = Math.max(bytes, ALIGNMENT);
		this.elements = total / 4;
		const twins = !options.trainable ? ['values'] : this.optimizer === 'lion' ? ['values', 'gradients', 'm'] : ['values', 'gradients', 'm', 'v'];
		this.#buffers = Promise.all(twins.map((label) => allocate(gpu, `factors ${label}`, total)));
		this.#buffers.then(
			(buffers) => (this.#ready = buffers),
			() => undefined
		);
	}

	/** Rejects with GpuError 'memory' when the buffers did not fit. */
	async ready(): Promise<this> {
		this.#ready = await this.#buffers;
		return this;
	}

	/** Bytes of all twins together. */
	get bytes(): number {
		return this.elements * 4 * (this.optimizer === undefined ? 1 : this.optimizer === 'lion' ? 3 : 4);
	}

	get names(): string[] {
		return [...this.#places.keys()];
	}

	/** values, gradients, then the optimizer's moments (m; v). Only after `ready()`. */
	get buffers(): readonly GPUBuffer[] {
		if (!this.#ready) throw new Error('The factors are not allocated yet; await ready() first.');
		return this.#ready;
	}

	/** Where a factor lives in the values. */
	get(name: string): StoredTensor | undefined {
		return this.#tensor(name, 0);
	}

	gradient(name: string): StoredTensor | undefined {
		if (!this.trainable) throw new Error(`Factor ${name} is not trainable and has no gradient.`);
		return this.#tensor(name, 1);
	}

	/** Sets one factor, in its logical shape. */
	async write(name: string, data: Float32Array): Promise<void> {
		const place = this.#place(name);
		const [values] = await this.#buffers;
		if (!values) return;
		if (data.length !== place.rows * place.columns) throw new Error(`Factor ${name} has ${place.rows * place.columns} elements, the data ${data.length}.`);
		upload(this.#gpu, values, place.offset, pad(data, place));
	}

	/** All factors in their logical shapes. */
	async readAll(): Promise<Map<string, Float32Array>> {
		return this.#readTwin(0);
	}

	/** The gradients of the last run, times the loss scale that was in force. */
	async readGradients(): Promise<Map<string, Float32Array>> {
		if (!this.trainable) throw new Error('These factors are not trainable.');
		return this.#readTwin(1);
	}

	/** The copies are queued when this returns: what is queued later does not show in them. Only after `ready()`. */
	async readState(): Promise<FactorState> {
		const { buffers } = this;
		const flat = await Promise.all(buffers.map((buffer, i) => (i === 1 ? Promise.resolve(undefined) : readBuffer(this.#gpu, buffer, 0, this.elements * 4))));
		const [values, , ...moments] = flat.map((raw) => (raw ? new Float32Array(raw) : undefined));
		if (!values) throw new Error('The factors could not be read.');
		return { values, moments: moments.filter((m) => m !== undefined) };
	}

	async writeState(state: FactorState): Promise<void> {
		const buffers = await this.#buffers;
		const parts = [state.values, undefined, ...state.moments];
		if (state.values.length !== this.elements || (this.trainable && state.moments.length !== buffers.length - 2)) {
			throw new Error('The saved state belongs to other factors or another optimizer.');
		}
		buffers.forEach((buffer, i) => {
			const part = parts[i];
			if (part) upload(this.#gpu, buffer, 0, part);
		});
	}

	destroy(): void {
		void this.#buffers.then((buffers) => buffers.forEach((buffer) => buffer.destroy())).catch(() => undefined);
	}

	#place(name: string): Place {
		const place = this.#places.get(name);
		if (!place) throw new Error(`There is no factor ${name}.`);
		return place;
	}

	#tensor(name: string, twin: number): StoredTensor | undefined {
		const place = this.#places.get(name);
		const buffer = this.buffers[twin];
		if (!place || !buffer) return undefined;
		return { buffer, offset: place.offset, bytes: alignUp(place.storedRows * place.storedColumns * 4, 16), shape: [place.storedRows, place.storedColumns] };
	}

	async #readTwin(twin: number): Promise<Map<string, Float32Array>> {
		const buffer = (await this.#buffers)[twin];
		if (!buffer) throw new Error('The factors could not be read.');
		const flat = new Float32Array(await readBuffer(this.#gpu, buffer, 0, this.elements * 4));
		const all = new Map<string, Float32Array>();
		for (const [name, place] of this.#places) all.set(name, unpad(flat, place));
		return all;
	}
}

function pad(data: Float32Array, place: Place): Float32Array {
	const { rows, columns, storedRows, storedColumns } = place;
	if (rows === storedRows && columns === storedColumns) return data;
	const stored = new Float32Array(storedRows * storedColumns);
	for (let row = 0; row < rows; row++) stored.set(data.subarray(row * columns, (row + 1) * columns), row * storedColumns);
	return stored;
}

function unpad(flat: Float32Array, place: Place): Float32Array {
	const { rows, columns, storedColumns } = place;
	const start = place.offset / 4;
	const data = new Float32Array(rows * columns);
	for (let row = 0; row < rows; row++) data.set(flat.subarray(start + row * storedColumns, start + row * storedColumns + columns), row * columns);
	return data;
}
