/**
 * Collects what the uses of a value give to its gradient, and makes one value of it: whole gradients are added; gradients of channel
 * ranges (a value that was sliced, a weight whose columns served several terms) are laid side by side first.
 */
import type { Emitter } from '../emitter';
import type { Value } from '../ir';
import { channelsOf, GraphError, sameShape, show } from '../shape';

interface Piece {
	readonly start: number;
	readonly gradient: Value;
}

export class GradientSums {
	private readonly whole = new Map<Value, Value[]>();
	private readonly pieces = new Map<Value, Piece[]>();

	constructor(
		private readonly emitter: Emitter,
		private readonly fresh: (of: Value) => Value
	) {}

	add(value: Value, gradient: Value): void {
		if (!sameShape(value, gradient)) throw new GraphError(`The gradient ${show(gradient)} does not have the shape of ${show(value)}.`);
		this.whole.set(value, [...(this.whole.get(value) ?? []), gradient]);
	}

	addChannels(value: Value, start: number, gradient: Value): void {
		this.pieces.set(value, [...(this.pieces.get(value) ?? []), { start, gradient }]);
	}

	/** The sum of all that was given; undefined when nothing was. */
	take(value: Value): Value | undefined {
		const parts = [...(this.whole.get(value) ?? [])];
		let pieces = this.pieces.get(value) ?? [];
		while (pieces.length > 0) {
			const layer = firstLayer(pieces);
			pieces = pieces.filter((piece) => !layer.includes(piece));
			parts.push(this.join(value, layer));
		}
		const [first, ...rest] = parts;
		return first && rest.reduce((sum, part) => this.sum(value, sum, part), first);
	}

	private sum(value: Value, a: Value, b: Value): Value {
		const out = this.fresh(value);
		this.emitter.push({ type: 'add', a, b, out });
		return out;
	}

	/** Pieces in channel order, with zeros where no use gave anything. */
	private join(value: Value, layer: readonly Piece[]): Value {
		const parts: Value[] = [];
		let channel = 0;
		for (const { start, gradient } of layer) {
			if (start > channel) parts.push(this.zeros(value, channel, start - channel));
			parts.push(gradient);
			channel = start + channelsOf(gradient);
		}
		if (channel < channelsOf(value)) parts.push(this.zeros(value, channel, channelsOf(value) - channel));
		const out = this.fresh(value);
		this.emitter.push({ type: 'concat', parts, out });
		return out;
	}

	private zeros(value: Value, start: number, channels: number): Value {
		const shape = [...value.shape.slice(0, -1), channels];
		const part = this.emitter.value(`${value.name}.unused`, shape, value.dtype);
		const out = this.emitter.value(`d.${value.name}.zero`, shape, value.dtype);
		this.emitter.push({ type: 'slice', x: value, start, out: part });
		this.emitter.push({ type: 'scale', x: part, scale: { factor: 0 }, out });
		return out;
	}
}

/** Pieces that do not overlap, in channel order, taken greedily. */
function firstLayer(pieces: readonly Piece[]): Piece[] {
	const layer: Piece[] = [];
	let channel = 0;
	for (const piece of pieces.toSorted((a, b) => a.start - b.start)) {
		if (piece.start < channel) continue;
		layer.push(piece);
		channel = piece.start + channelsOf(piece.gradient);
	}
	return layer;
}
