/**
 * A value that is read while the loop goes on. Whoever awaits it is told of its failure; a loop that ends before that (the device was lost, which fails
 * everything at once) has told the reason already, and a rejection that nobody handles would end the whole process in Node.
 */
export function awaitedLater<T>(value: Promise<T>): Promise<T> {
	value.catch(() => undefined);
	return value;
}
