/** A failure of the storage room as something to show. Its errors carry code, place and values, but are no problems of the service. */
import type { Problem } from '../../service/protocol';

export function asStorageProblem(error: unknown): Problem {
	const message = error instanceof Error ? error.message : String(error);
	const known = typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string';
	const values =
		typeof error === 'object' && error !== null && 'values' in error && typeof error.values === 'object' && error.values !== null ? error.values : {};
	return {
		level: 'error',
		code: known ? String(error.code) : 'storage.failed',
		where: 'library',
		values: { detail: message, ...(values as Problem['values']) },
		message
	};
}
