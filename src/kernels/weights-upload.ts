/**
 * Tensors of a file onto the GPU with nothing done to them by JavaScript: the bytes are read into mapped buffers, copied from there on the GPU, and what changes type or order is converted by a
 * kernel (`shaders/weights_load.wesl`). Several spans (`weights-plan.ts`) are under way at once, so that reading, copying and converting overlap.
 */
import type { ByteSource } from '../formats/source';
import { allocate, alignUp, readBuffer, settle, STORAGE_USAGE } from '../gpu/buffers';
import type { Gpu } from '../gpu/gpu';
import { pipelinesOf, type Pipeline } from '../gpu/pipelines';
import { quantisedPlaces } from './int8';
import { packParams } from './lowering';
import { countOf, leastSpan, planSpans, RAW_BYTES, RAW_TYPES, UNIT, type RawTensor, type Span, type SpanPart } from './weights-plan';

/** Bytes of a span, and how many spans are under way. */
const PIECE = 8 << 20;
const SLOTS = 8;
/** Parts of a span: each has a block of parameters. */
const PARTS = 128;
const PARAM_BYTES = 256;
const WORKGROUP = 64;

type Kind = 'f16' | 'f32' | 'i8';

/** A tensor and where it goes. */
export interface PlacedTensor extends RawTensor {
	readonly becomes: Kind;
	readonly buffer: GPUBuffer;
	/** Bytes, a multiple of 256. */
	readonly place: number;
}

interface Slot {
	readonly staging: GPUBuffer;
	/** Made when a span of this slot is the first to need it. */
	converter?: Converter;
}

interface Converter {
	readonly raw: GPUBuffer;
	readonly params: GPUBuffer;
	readonly uniforms: GPUBindGroup;
	readonly groups: Map<string, GPUBindGroup>;
}

/** Numbers that a workgroup makes. */
const numbersOf = (kind: Kind): number => WORKGROUP * (kind === 'i8' ? UNIT : kind === 'f16' ? 8 : 4);

/** Whether the bytes are kept as they are. */
function isCopied({ tensor, count, at }: SpanPart<PlacedTensor>): boolean {
	const same = (tensor.becomes === 'f16' && tensor.type === 'F16') || (tensor.becomes === 'f32' && tensor.type === 'F32');
	return same && !tensor.swap && at % 4 === 0 && (count * RAW_BYTES[tensor.type]) % 4 === 0;
}

/**
 * Resolves when everything has arrived, with √(Σ error² / Σ x²) of each tensor in few bits.
 * Rejects with GpuError (`memory`, `lost`), with what reading or `onProgress` throws; then nothing is under way any more and nothing but the tensors' own buffers is left.
 * @param onProgress bytes of the tensors that are on their way
 */
export async function uploadTensors(
	gpu: Gpu,
	tensors: readonly PlacedTensor[],
	source: ByteSource,
	onProgress?: (bytes: number) => void
): Promise<Map<string, number>> {
	const piece = alignUp(Math.max(PIECE, leastSpan(tensors)), 16);
	const spans = planSpans(tensors, piece, PARTS);
	const upload = new Upload(gpu, source, piece, spans);
	try {
		await upload.run(spans, onProgress);
		return await upload.errors(tensors);
	} catch (error) {
		// What went wrong on the GPU explains what then failed here.
		gpu.check();
		throw error;
	} finally {
		upload.destroy();
	}
}

class Upload {
	readonly #free: Slot[] = [];
	readonly #buffers: GPUBuffer[] = [];
	readonly #ids = new Map<GPUBuffer, number>();
	readonly #pipelines = new Map<Kind, Promise<Pipeline>>();
	/** First sum of each part in few bits, and where the next one's begin. */
	readonly #sumsOf = new Map<SpanPart<PlacedTensor>, number>();
	#sumCount = 0;
	#sums: Promise<GPUBuffer> | undefined;
	#made = 0;
	#failure: { readonly error: unknown } | undefined;
	#wake: (() => void) | undefined;

	constructor(
		private readonly gpu: Gpu,
		private readonly source: ByteSource,
		private readonly piece: number,
		private readonly spans: readonly Span<PlacedTensor>[]
	) {
		for (const part of spans.flatMap(({ parts }) => parts)) {
			if (isCopied(part)) continue;
			this.#compile(part.tensor.becomes);
			if (part.tensor.becomes !== 'i8') continue;
			this.#sumsOf.set(part, this.#sumCount);
			this.#sumCount += Math.ceil(part.count / numbersOf('i8'));
		}
	}

	async run(spans: readonly Span<PlacedTensor>[], onProgress?: (bytes: number) => void): Promise<void> {
		const all = spans.reduce((sum, { parts }) => sum + bytesOf(parts), 0);
		let done = 0;
		const under = new Set<Promise<void>>();
		for (const span of spans) {
			const slot = await this.#take().catch((error: unknown) => this.#fail(error));
			if (!slot) break;
			const sending = this.#send(slot, span)
				.then(() => {
					done += bytesOf(span.parts);
					if (done < all) onProgress?.(done);
				})
				.catch((error: unknown) => this.#fail(error))
				.finally(() => under.delete(sending));
			under.add(sending);
		}
		// Also after a failure: a file must not be read into memory that was given back.
		await Promise.all(under);
		if (this.#failure) throw this.#failure.error;
		await settle(this.gpu);
		onProgress?.(all);
	}

	/** Reads the sums back. */
	async errors(tensors: readonly PlacedTensor[]): Promise<Map<string, number>> {
		const result = new Map<string, number>();
		if (!this.#sums) return result;
		const sums = new Float32Array(await readBuffer(this.gpu, await this.#sums, 0, 8 * this.#sumCount));
		const totals = new Map<string, [number, number]>(tensors.flatMap(({ name, becomes }) => (becomes === 'i8' ? [[name, [0, 0]]] : [])));
		for (const [{ tensor, count }, first] of this.#sumsOf) {
			const total = totals.get(tensor.name) ?? [0, 0];
			for (let i = first; i < first + Math.ceil(count / numbersOf('i8')); i++) {
				total[0] += sums[2 * i] ?? 0;
				total[1] += sums[2 * i + 1] ?? 0;
			}
		}
		for (const [name, [squares, errors]] of totals) result.set(name, squares > 0 ? Math.sqrt(errors / squares) : 0);
		return result;
	}

	destroy(): void {
		for (const buffer of this.#buffers.splice(0)) buffer.destroy();
	}

	#compile(kind: Kind): void {
		if (this.#pipelines.has(kind)) return;
		const few = kind === 'i8';
		const pipeline = pipelinesOf(this.gpu).get({
			shader: 'weights_load',
			conditions: { few_bits: few, half: kind === 'f16' },
			constants: { WORKGROUP },
			access: few ? ['read', 'read_write', 'read_write'] : ['read', 'read_write']
		});
		// Told where it is awaited.
		pipeline.catch(() => undefined);
		this.#pipelines.set(kind, pipeline);
		if (few) {
			this.#sums ??= Promise.resolve().then(async () => this.#keep(await allocate(this.gpu, 'sums of errors', 8 * this.#sumCount)));
			this.#sums.catch(() => undefined);
		}
	}

	async #send(slot: Slot, span: Span<PlacedTensor>): Promise<void> {
		const { gpu, source } = this;
		const target = new Uint8Array(slot.staging.getMappedRange(), 0, span.bytes);
		if (source.readInto) await source.readInto(span.offset, target);
		else target.set(await source.read(span.offset, span.bytes));
		slot.staging.unmap();
		const encoder = gpu.device.createCommandEncoder({ label: 'weights' });
		const converted: SpanPart<PlacedTensor>[] = [];
		for (const part of span.parts) {
			const { tensor, first, count, at } = part;
			const size = RAW_BYTES[tensor.type];
			if (isCopied(part)) encoder.copyBufferToBuffer(slot.staging, at, tensor.buffer, tensor.place + first * size, count * size);
			else converted.push(part);
		}
		if (converted.length > 0) await this.#convert(encoder, slot, span, converted);
		gpu.device.queue.submit([encoder.finish()]);
		// Whoever wants the next slot waits for the GPU, not the sender of this span.
		slot.staging.mapAsync(GPUMapMode.WRITE).then(
			() => this.#give(slot),
			(error: unknown) => this.#fail(error)
		);
	}

	async #convert(encoder: GPUCommandEncoder, slot: Slot, span: Span<PlacedTensor>, parts: readonly SpanPart<PlacedTensor>[]): Promise<void> {
		const { device } = this.gpu;
		const converter = (slot.converter ??= await this.#converter());
		const ready = new Map<Kind, Pipeline>();
		for (const { tensor } of parts) {
			const pipeline = await this.#pipelines.get(tensor.becomes);
			if (pipeline) ready.set(tensor.becomes, pipeline);
		}
		const sums = await this.#sums;
		const blocks = new Uint8Array(parts.length * PARAM_BYTES);
		for (const [i, part] of parts.entries()) blocks.set(new Uint8Array(paramsOf(part, this.#sumsOf.get(part) ?? 0)), i * PARAM_BYTES);
		device.queue.writeBuffer(converter.params, 0, blocks);
		encoder.copyBufferToBuffer(slot.staging, 0, converter.raw, 0, alignUp(span.bytes, 4));
		const pass = encoder.beginComputePass({ label: 'weights' });
		for (const [i, { tensor, count }] of parts.entries()) {
			const pipeline = ready.get(tensor.becomes);
			if (!pipeline) continue;
			pass.setPipeline(pipeline.pipeline);
			pass.setBindGroup(0, this.#group(converter, pipeline, tensor, sums));
			pass.setBindGroup(1, converter.uniforms, [i * PARAM_BYTES]);
			pass.dispatchWorkgroups(Math.ceil(count / numbersOf(tensor.becomes)));
		}
		pass.end();
	}

	#group({ raw, groups }: Converter, pipeline: Pipeline, { becomes, buffer }: PlacedTensor, sums: GPUBuffer | undefined): GPUBindGroup {
		const id = this.#ids.get(buffer) ?? this.#ids.size;
		this.#ids.set(buffer, id);
		const key = `${becomes} ${id}`;
		let group = groups.get(key);
		if (!group) {
			const bound = becomes === 'i8' && sums ? [raw, buffer, sums] : [raw, buffer];
			group = this.gpu.device.createBindGroup({
				label: 'weights',
				layout: pipeline.storageLayout,
				entries: bound.map((one, binding) => ({ binding, resource: { buffer: one } }))
			});
			groups.set(key, group);
		}
		return group;
	}

	async #converter(): Promise<Converter> {
		const { gpu } = this;
		// One word more: bytes that begin anywhere are read by words.
		const raw = this.#keep(await allocate(gpu, 'bytes of the file', this.piece + 16, STORAGE_USAGE()));
		const params = this.#keep(await allocate(gpu, 'weights params', PARTS * PARAM_BYTES, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST));
		const unused = this.#keep(await allocate(gpu, 'weights scalars', 256, GPUBufferUsage.UNIFORM));
		const uniforms = gpu.device.createBindGroup({
			label: 'weights uniforms',
			layout: pipelinesOf(gpu).uniformLayout,
			entries: [
				{ binding: 0, resource: { buffer: params, size: PARAM_BYTES } },
				{ binding: 1, resource: { buffer: unused } }
			]
		});
		return { raw, params, uniforms, groups: new Map() };
	}

	#keep(buffer: GPUBuffer): GPUBuffer {
		this.#buffers.push(buffer);
		return buffer;
	}

	/** A slot that is mapped; undefined after a failure. */
	async #take(): Promise<Slot | undefined> {
		for (;;) {
			if (this.#failure) return undefined;
			const free = this.#free.pop();
			if (free) return free;
			if (this.#made < Math.min(SLOTS, this.spans.length)) {
				this.#made++;
				const usage = GPUBufferUsage.MAP_WRITE | GPUBufferUsage.COPY_SRC;
				return { staging: this.#keep(this.gpu.device.createBuffer({ label: 'staging', size: this.piece, usage, mappedAtCreation: true })) };
			}
			await new Promise<void>((resolve) => (this.#wake = resolve));
		}
	}

	#give(slot: Slot): void {
		this.#free.push(slot);
		this.#wake?.();
	}

	/** Nobody waits for a slot that will not come. */
	#fail(error: unknown): void {
		this.#failure ??= { error };
		this.#wake?.();
	}
}

const bytesOf = (parts: readonly SpanPart[]): number => parts.reduce((sum, { tensor, count }) => sum + count * RAW_BYTES[tensor.type], 0);

function paramsOf({ tensor, first, count, at }: SpanPart<PlacedTensor>, sums: number): ArrayBuffer {
	const { becomes, place, shape, swap, type } = tensor;
	const [channels, taps] = swap ?? [0, 0];
	const head = [at, RAW_TYPES.indexOf(type), count, channels, taps];
	if (becomes !== 'i8') return packParams(...head, (place + first * (becomes === 'f16' ? 2 : 4)) / 16);
	const { twos, ones, scales } = quantisedPlaces(countOf(shape));
	const word = (bytes: number): number => (place + bytes) / 4;
	return packParams(...head, word(first), word(twos + first / 4), word(ones + first / 8), word(scales + first / 32), sums);
}
