/**
 * How the tensors of a file go onto the GPU: the file is read once, in its own order, in spans of bounded size; a span holds parts of one or many tensors, and each part is copied as it is or
 * converted by a kernel (`weights-upload.ts`). Pure: offsets in, spans out.
 *
 * Rule: a tensor is cut where whole words of its result begin (`UNIT` numbers: 128 share a word of scales of an int8 base) and, if its order changes, between two rows.
 */

/** Number types that the kernels read, in the order of the shader's codes. */
export const RAW_TYPES = ['F32', 'F16', 'BF16', 'F8_E4M3'] as const;
export type RawType = (typeof RAW_TYPES)[number];

export const RAW_BYTES: Readonly<Record<RawType, number>> = { F32: 4, F16: 2, BF16: 2, F8_E4M3: 1 };

export const isRawType = (type: string): type is RawType => type in RAW_BYTES;

/** A tensor as it lies in a file. */
export interface RawTensor {
	readonly name: string;
	/** As it is kept. */
	readonly shape: readonly number[];
	readonly type: RawType;
	/** First byte in the file. */
	readonly offset: number;
	/** Inner sizes `[channels, taps]` of a file's rows that are kept as `[taps, channels]`: kernels of convolutions. Absent: the order stays. */
	readonly swap?: readonly [number, number] | undefined;
}

/** Consecutive numbers of one tensor. */
export interface SpanPart<T extends RawTensor = RawTensor> {
	readonly tensor: T;
	/** First number, a multiple of `UNIT` and of whole rows where the order changes. */
	readonly first: number;
	readonly count: number;
	/** Byte within the span. */
	readonly at: number;
}

export interface Span<T extends RawTensor = RawTensor> {
	/** First byte in the file. */
	readonly offset: number;
	readonly bytes: number;
	readonly parts: readonly SpanPart<T>[];
}

/** Numbers whose results fill whole words, whatever they become. */
export const UNIT = 128;

/** Bytes between two tensors that are read along rather than jumped over. */
const GAP = 64 << 10;

export const countOf = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

/** Numbers by which a tensor can be cut. */
function stepOf({ swap }: RawTensor): number {
	if (!swap) return UNIT;
	const row = swap[0] * swap[1];
	return (row * UNIT) / gcd(row, UNIT);
}

/** Bytes that one span must be able to hold: the least a tensor can be cut into. */
export function leastSpan(tensors: readonly RawTensor[]): number {
	return tensors.reduce((most, tensor) => Math.max(most, Math.min(countOf(tensor.shape), stepOf(tensor)) * RAW_BYTES[tensor.type]), 0);
}

/**
 * @param most bytes of a span, not less than `leastSpan`
 * @param parts parts of a span at most
 */
export function planSpans<T extends RawTensor>(tensors: readonly T[], most: number, parts: number): Span<T>[] {
	const spans: Span<T>[] = [];
	let open: { offset: number; end: number; parts: SpanPart<T>[] } | undefined;
	const close = (): void => {
		if (open) spans.push({ offset: open.offset, bytes: open.end - open.offset, parts: open.parts });
		open = undefined;
	};
	for (const tensor of [...tensors].sort((a, b) => a.offset - b.offset)) {
		const [count, size, step] = [countOf(tensor.shape), RAW_BYTES[tensor.type], stepOf(tensor)];
		for (let first = 0; first < count;) {
			const from = tensor.offset + first * size;
			if (open && (open.parts.length >= parts || from < open.end || from - open.end > GAP)) close();
			const room = most - (open ? from - open.offset : 0);
			const rest = count - first;
			const taken = rest * size <= room ? rest : Math.floor(room / size / step) * step;
			if (taken <= 0) {
				if (!open) throw new Error(`A span of ${most} bytes is too small for a row of ${tensor.name}.`);
				close();
				continue;
			}
			open ??= { offset: from, end: from, parts: [] };
			open.parts.push({ tensor, first, count: taken, at: from - open.offset });
			open.end = from + taken * size;
			first += taken;
		}
	}
	close();
	return spans;
}
