/** Hands bytes to the browser's own download, without any server. */
export function download(name: string, content: Blob | ArrayBuffer): void {
	const blob = content instanceof Blob ? content : new Blob([content], { type: 'application/octet-stream' });
	const url = URL.createObjectURL(blob);
	const link = document.createElement('a');
	link.href = url;
	link.download = name;
	link.click();
	// The download has its own hold on the blob once it has begun; a minute is more than enough for that.
	setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
