/** What every command is given and gives back. */
import type { Problem } from '../jobs/events';
import type { Installation } from './installation';
import type { Streams } from './output';

export const EXIT = { done: 0, failed: 1, badInput: 2 } as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export interface Context {
	streams: Streams;
	installation: Installation;
	/** Calls back on Ctrl-C (first and further ones, counted from 1) until the returned function is called. */
	onInterrupt(listener: (count: number) => void): () => void;
}

/** Problems of what was given, as opposed to failures of the machine or of Utsushi. */
export function isInputProblem({ code }: Problem): boolean {
	return /^(file|recipe|traintrain|link|path|images|pair|model|lora|merge|extract|sample|plot|port|app|folder)\./.test(code);
}
