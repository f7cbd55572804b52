/**
 * The writing half of protocol buffers: just enough for an ONNX model.
 * A message is a list of parts; large parts are only promised (`Later`) and read when the whole is put together, so that the weights of
 * a model are never in memory twice. Source: the protocol buffers encoding guide.
 */

/** Bytes that will be read when their turn comes. */
export interface Later {
	readonly length: number;
	read(): Promise<Uint8Array>;
}

export type Part = Uint8Array | Later;
export type Message = readonly Part[];

export function sizeOf(message: Message): number {
	return message.reduce((sum, part) => sum + part.length, 0);
}

/** A field holding a whole number (int64, enums); a negative one takes ten bytes, in two's complement. */
export function intField(field: number, value: number): Message {
	return [Uint8Array.from([...varint(field * 8), ...varint(value)])];
}

export function floatField(field: number, value: number): Message {
	const bytes = new Uint8Array(4);
	new DataView(bytes.buffer).setFloat32(0, value, true);
	return [Uint8Array.from(varint(field * 8 + 5)), bytes];
}

export function stringField(field: number, text: string): Message {
	return messageField(field, [new TextEncoder().encode(text)]);
}

/** A field holding a message or bytes. */
export function messageField(field: number, content: Message): Message {
	return [Uint8Array.from([...varint(field * 8 + 2), ...varint(sizeOf(content))]), ...content];
}

/** Puts a message together; later parts are read one after the other, straight into their place. */
export async function assemble(message: Message): Promise<Uint8Array> {
	const bytes = new Uint8Array(sizeOf(message));
	let at = 0;
	for (const part of message) {
		const content = part instanceof Uint8Array ? part : await part.read();
		if (content.length !== part.length) throw new RangeError(`A part has ${content.length} bytes instead of ${part.length}`);
		bytes.set(content, at);
		at += content.length;
	}
	return bytes;
}

function varint(value: number): number[] {
	const bytes: number[] = [];
	let rest = BigInt.asUintN(64, BigInt(value));
	for (; rest >= 128n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
	bytes.push(Number(rest));
	return bytes;
}
