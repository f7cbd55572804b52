/** What can go wrong with keeping things, each with what to do. `code` is stable and is the key of the translated text. */
export type StorageCode = 'storage.quota' | 'storage.unavailable' | 'storage.missing' | 'storage.newer' | 'storage.failed';

export class StorageError extends Error {
	override readonly name = 'StorageError';
	readonly code: StorageCode;
	readonly where: string;
	readonly values: Record<string, string | number>;

	constructor(code: StorageCode, where: string, message: string, values: Record<string, string | number> = {}, options?: ErrorOptions) {
		super(message, options);
		this.code = code;
		this.where = where;
		this.values = values;
	}
}

function nameOf(error: unknown): string {
	return typeof error === 'object' && error !== null && 'name' in error && typeof error.name === 'string' ? error.name : '';
}

function codeOf(error: unknown): string {
	return typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

/** Browser and Node failures in our words. `needed`: bytes that were to be written. */
export function asStorageError(error: unknown, where: string, needed = 0): StorageError {
	if (error instanceof StorageError) return error;
	const cause = { cause: error };
	const name = nameOf(error);
	const code = codeOf(error);
	const megabytes = Math.max(1, Math.round(needed / 2 ** 20));
	// Some failures of a full disk come without the name that they should have.
	const full = error instanceof Error && /quota|no space|disk (is )?full/i.test(error.message);
	if (full || name === 'QuotaExceededError' || code === 'ENOSPC' || code === 'EDQUOT')
		return new StorageError(
			'storage.quota',
			where,
			`There is no room to keep “${where}” (${megabytes} MB). Delete results you no longer need, or free some disk space; the file can still be downloaded.`,
			{ megabytes },
			cause
		);
	if (name === 'NotFoundError' || code === 'ENOENT')
		return new StorageError(
			'storage.missing',
			where,
			`“${where}” is no longer there. The browser may have cleared it, or it was deleted elsewhere.`,
			{},
			cause
		);
	if (name === 'VersionError')
		return new StorageError('storage.newer', where, 'The library was written by a newer version of Utsushi. Reload the page to get that version.', {}, cause);
	if (name === 'SecurityError' || name === 'InvalidStateError' || code === 'EACCES' || code === 'EPERM' || code === 'EROFS')
		return new StorageError(
			'storage.unavailable',
			where,
			`“${where}” cannot be kept: storage is not available here (a private window, or no permission to write). Results can still be downloaded.`,
			{},
			cause
		);
	const detail = error instanceof Error ? error.message : String(error);
	return new StorageError('storage.failed', where, `“${where}” could not be kept: ${detail}`, { detail }, cause);
}

/**
 * The same for a write in a browser. A full disk sometimes comes as an error without a telling name or message, so a failure that nobody recognised is
 * measured against the room that the browser says is left.
 */
export async function asWriteError(error: unknown, where: string, needed: number): Promise<StorageError> {
	const problem = asStorageError(error, where, needed);
	if (problem.code !== 'storage.failed') return problem;
	const room: StorageEstimate = await navigator.storage.estimate().catch(() => ({}));
	if ((room.usage ?? 0) + needed <= (room.quota ?? Infinity)) return problem;
	return asStorageError(new DOMException(problem.message, 'QuotaExceededError'), where, needed);
}
