/**
 * Counts what a device really holds: every buffer made and not yet destroyed, by label, and the most there ever was.
 * Put on before anything is allocated; buffers are counted by size as WebGPU was asked for it.
 */
export interface LiveBuffers {
	/** Bytes alive now. */
	readonly bytes: number;
	readonly count: number;
	readonly peakBytes: number;
	/** The most from now on. */
	resetPeak(): void;
	/** Bytes alive whose label passes. */
	bytesOf(label: (label: string) => boolean): number;
}

export function countBuffers(device: GPUDevice): LiveBuffers {
	const alive = new Map<GPUBuffer, { readonly label: string; readonly size: number }>();
	let bytes = 0;
	let peakBytes = 0;
	const make = device.createBuffer.bind(device);
	device.createBuffer = (descriptor) => {
		const buffer = make(descriptor);
		alive.set(buffer, { label: descriptor.label ?? '', size: descriptor.size });
		bytes += descriptor.size;
		peakBytes = Math.max(peakBytes, bytes);
		const destroy = buffer.destroy.bind(buffer);
		buffer.destroy = () => {
			if (alive.delete(buffer)) bytes -= descriptor.size;
			destroy();
			return undefined;
		};
		return buffer;
	};
	return {
		get bytes() {
			return bytes;
		},
		get count() {
			return alive.size;
		},
		get peakBytes() {
			return peakBytes;
		},
		resetPeak() {
			peakBytes = bytes;
		},
		bytesOf: (wanted) => [...alive.values()].reduce((sum, { label, size }) => sum + (wanted(label) ? size : 0), 0)
	};
}
