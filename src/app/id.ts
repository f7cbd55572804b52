/** Ids for runs and requests: unique in this browser, no meaning. */
export function newId(): string {
	return crypto.randomUUID();
}
