/**
 * LoRA factors on the GPU: all of a network's matrices in one flat f32 buffer (`factor-layout.ts`), with twins for gradients and whatever the optimizer remembers
 * (`optimizer-state.ts`).
 *
 * A snapshot is `readState()`, to go on is `writeState()`: values and every state buffer, the optimizer's own counters included (steps made, steps skipped, estimated distance).
 * Both may be called at any time between steps, before or after `createOptimizer`.
 */
import { alignUp, allocate, readBuffer, upload } from '../gpu/buffers';
import type { Gpu } from '../gpu/gpu';
import type { OptimizerSettings } from '../recipe/optimizers';
import { layoutFactors } from './factor-layout';
import type { FactorEntry, FactorLayout, Place } from './factor-layout';
import { stateBuffers } from './optimizer-state';
import type { StateBuffer } from './optimizer-state';
import type { StoredTensor } from './weights';

export type { FactorEntry } from './factor-layout';

export interface FactorOptions {
	readonly trainable: boolean;
	/** Whose state is kept; none: gradients only. */
	readonly optimizer?: OptimizerSettings;
}

/** Everything an interrupted run needs to go on bit by bit: flat values and the optimizer's buffers by name, as stored. */
export interface FactorState {
	readonly values: Float32Array;
	readonly state: Readonly<Record<string, Uint8Array>>;
}

/** Smallest rank the kernels take: a multiple of 4. */
export const paddedRank = (rank: number): number => alignUp(rank, 4);

export class FactorStore {
	readonly layout: FactorLayout;
	readonly trainable: boolean;
	readonly optimizer: OptimizerSettings | undefined;
	readonly #places: ReadonlyMap<string, Place>;
	readonly #gpu: Gpu;
	readonly #states: readonly StateBuffer[];
	readonly #buffers: Promise<GPUBuffer[]>;
	#ready: readonly GPUBuffer[] | undefined;
	#aside = false;

	constructor(gpu: Gpu, entries: readonly FactorEntry[], options: FactorOptions) {
		this.#gpu = gpu;
		this.trainable = options.trainable;
		this.optimizer = options.trainable ? options.optimizer : undefined;
		this.layout = layoutFactors(entries, this.optimizer);
		this.#places = new Map(this.layout.places.map((place) => [place.entry.name, place]));
		this.#states = this.optimizer ? stateBuffers(this.optimizer, this.layout) : [];
		const bytes = this.elements * 4;
		const twins = ['values', ...(options.trainable ? ['gradients'] : [])].map((name) => ({ name, bytes }));
		this.#buffers = Promise.all([...twins, ...this.#states].map(({ name, bytes: size }) => allocate(gpu, `factors ${name}`, size)));
		this.#buffers.then(
			(buffers) => (this.#ready = buffers),
			() => undefined
		);
	}

	/** f32 elements in each flat buffer. */
	get elements(): number {
		return this.layout.elements;
	}

	/** Rejects with GpuError 'memory' when the buffers did not fit. */
	async ready(): Promise<this> {
		this.#ready = await this.#buffers;
		return this;
	}

	/** Bytes of values, gradients and state together. */
	get bytes(): number {
		return this.elements * 4 * (this.trainable ? 2 : 1) + this.#states.reduce((sum, { bytes }) => sum + bytes, 0);
	}

	get names(): string[] {
		return [...this.#places.keys()];
	}

	/** values, gradients, then the optimizer's state. Only after `ready()`. */
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
	/** A state buffer by the name `optimizer-state.ts` gives it. @throws Error when this optimizer has none of that name */
	stateBuffer(name: string): GPUBuffer {
		const buffer = this.buffers[2 + this.#states.findIndex((state) => state.name === name)];
		if (!buffer || !this.#states.some((state) => state.name === name)) throw new Error(`${this.optimizer?.kind ?? 'This network'} has no state ${name}.`);
		return buffer;
	}

	/**
	 * While true, the values are not the training weights but the optimizer's average of them, and the training weights lie where the gradients were (schedule-free only).
	 * Set by the optimizer alone. A state cannot be read meanwhile.
	 */
	set aside(aside: boolean) {
		this.#aside = aside;
	}

	/** @throws Error while the optimizer shows its averaged weights */
	async readState(): Promise<FactorState> {
		if (this.#aside) throw new Error('The values are averaged ones at the moment, not those that are trained.');
		// Without a wait where possible: the copies are queued now, before whatever the caller queues next.
		const buffers = this.#ready ?? (await this.#buffers);
		const kept = [buffers[0], ...buffers.slice(2)].filter((buffer) => buffer !== undefined);
		const sizes = [this.elements * 4, ...this.#states.map(({ bytes }) => bytes)];
		const [values, ...state] = await Promise.all(kept.map((buffer, i) => readBuffer(this.#gpu, buffer, 0, sizes[i] ?? 0)));
		if (!values) throw new Error('The factors could not be read.');
		return {
			values: new Float32Array(values),
			state: Object.fromEntries(this.#states.map(({ name }, i) => [name, new Uint8Array(state[i] ?? new ArrayBuffer(0))]))
		};
	}

	/** @throws Error when the state is of other factors or another optimizer; nothing is written then */
	async writeState(saved: FactorState): Promise<void> {
		const buffers = await this.#buffers;
		const fits =
			saved.values.length === this.elements &&
			Object.keys(saved.state).length === this.#states.length &&
			this.#states.every(({ name, bytes }) => Object.hasOwn(saved.state, name) && saved.state[name]?.length === bytes);
		if (!fits) throw new Error('The saved state belongs to other factors or another optimizer.');
		const [values] = buffers;
		if (values) upload(this.#gpu, values, 0, saved.values);
		this.#states.forEach(({ name }, i) => {
			const [buffer, data] = [buffers[2 + i], saved.state[name]];
			if (buffer && data) upload(this.#gpu, buffer, 0, data);
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
