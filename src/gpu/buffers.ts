/**
 * Buffers: allocation that notices when memory is out, upload in slices, readback.
 *
 * Rules: a failed allocation is an invalid object that silently computes garbage, so every allocation of size waits on an
 * out-of-memory scope; uploads go through `queue.writeBuffer` in slices (large views are refused by browsers); readback
 * copies into a short-lived mappable buffer.
 */
import { GpuError, type Gpu } from './gpu';

/** What every binding offset in the project is aligned to (the WebGPU default for storage and uniform offsets). */
export const ALIGNMENT = 256;

export const alignUp = (value: number, alignment: number): number => Math.ceil(value / alignment) * alignment;

const SLICE = 16 << 20;

export function formatBytes(bytes: number): string {
	if (bytes >= 1 << 30) return `${(bytes / (1 << 30)).toFixed(2)} GiB`;
	if (bytes >= 1 << 20) return `${(bytes / (1 << 20)).toFixed(1)} MiB`;
	return `${Math.ceil(bytes / 1024)} KiB`;
}

export const STORAGE_USAGE = (): GPUBufferUsageFlags => GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;

/** A buffer, or a GpuError 'memory' that says what was wanted and for what. */
export async function allocate(gpu: Gpu, label: string, bytes: number, usage: GPUBufferUsageFlags = STORAGE_USAGE()): Promise<GPUBuffer> {
	const size = alignUp(Math.max(bytes, 16), 16);
	if (size > gpu.limits.maxBufferSize) {
		throw new GpuError('memory', `${label} needs a buffer of ${formatBytes(size)}, more than this GPU allows (${formatBytes(gpu.limits.maxBufferSize)}).`);
	}
	gpu.device.pushErrorScope('out-of-memory');
	gpu.device.pushErrorScope('validation');
	const buffer = gpu.device.createBuffer({ label, size, usage });
	const [invalid, exhausted] = await Promise.all([gpu.device.popErrorScope(), gpu.device.popErrorScope()]);
	if (exhausted) {
		buffer.destroy();
		throw new GpuError('memory', `The GPU has no room for ${formatBytes(size)} (${label}): ${exhausted.message}`);
	}
	if (invalid) throw new GpuError('validation', `${label}: ${invalid.message}`);
	return buffer;
}

/** Resolves when the GPU has taken in everything written so far, so that copies waiting for it do not pile up in memory. */
export async function settle(gpu: Gpu): Promise<void> {
	gpu.device.queue.submit([]);
	await gpu.device.queue.onSubmittedWorkDone();
	gpu.check();
}

/** `offset` and the byte length must be multiples of 4. */
export function upload(gpu: Gpu, buffer: GPUBuffer, offset: number, data: ArrayBufferView): void {
	for (let done = 0; done < data.byteLength; done += SLICE) {
		const length = Math.min(SLICE, data.byteLength - done);
		gpu.device.queue.writeBuffer(buffer, offset + done, data.buffer, data.byteOffset + done, length);
	}
}

/** Copies `[offset, offset + bytes)` to the CPU, after all work submitted so far. */
export async function readBuffer(gpu: Gpu, buffer: GPUBuffer, offset: number, bytes: number): Promise<ArrayBuffer> {
	const size = alignUp(bytes, 4);
	const staging = gpu.device.createBuffer({ label: 'readback', size: Math.max(size, 4), usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
	try {
		const encoder = gpu.device.createCommandEncoder({ label: 'readback' });
		encoder.copyBufferToBuffer(buffer, offset, staging, 0, size);
		gpu.device.queue.submit([encoder.finish()]);
		await staging.mapAsync(GPUMapMode.READ, 0, size);
		const copy = staging.getMappedRange(0, size).slice(0, bytes);
		staging.unmap();
		gpu.check();
		return copy;
	} catch (cause) {
		gpu.check();
		throw cause instanceof GpuError ? cause : new GpuError('lost', `The GPU gave nothing back: ${cause instanceof Error ? cause.message : String(cause)}`);
	} finally {
		staging.destroy();
	}
}
