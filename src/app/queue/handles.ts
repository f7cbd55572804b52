/** Handles of files that were chosen, as long as somebody holds the file: apart from the queue, whose code is loaded when it is first used. */
const handles = new WeakMap<Blob, FileSystemFileHandle>();

export function rememberHandle(file: File, handle: FileSystemFileHandle): void {
	handles.set(file, handle);
}

export function handleOf(file: Blob): FileSystemFileHandle | undefined {
	return handles.get(file);
}
