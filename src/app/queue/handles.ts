/** Handles of files that were chosen, as long as somebody holds the file: apart from the queue, whose code is loaded when it is first used. */
const handles = new WeakMap<Blob, FileSystemFileHandle>();

export function rememberHandle(file: File, handle: FileSystemFileHandle): void {
	handles.set(file, handle);
}

/**
 * Asks for a model file. Where the browser can remember a file (Chrome, Edge), it is found again after a reload; elsewhere `plain` opens the usual dialog.
 * @param use what is done with the file
 */
export async function chooseModelFile(plain: () => void, use: (file: File) => Promise<void>): Promise<void> {
	const picker = (window as { showOpenFilePicker?: (options: object) => Promise<FileSystemFileHandle[]> }).showOpenFilePicker;
	if (!picker) return plain();
	try {
		const [handle] = await picker.call(window, { types: [{ accept: { 'application/octet-stream': ['.safetensors'] } }] });
		if (!handle) return;
		const file = await handle.getFile();
		rememberHandle(file, handle);
		await use(file);
	} catch (error) {
		// Closing the dialog is a choice, not a failure.
		if (!(error instanceof DOMException && error.name === 'AbortError')) plain();
	}
}

export function handleOf(file: Blob): FileSystemFileHandle | undefined {
	return handles.get(file);
}
