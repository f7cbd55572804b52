/**
 * How much of the GPU a run may take. WebGPU does not tell how much memory a card has; people know. Without a word from them the trainer assumes the smallest usual card the run fits on.
 * Of what the card has, one gigabyte is left to the screen and other programs.
 */
import type { Request } from '../../service/protocol';

/** Gigabytes of usual cards. */
export const CARDS = ['auto', '6', '8', '10', '12', '16', '24', '32'] as const;
export type Card = (typeof CARDS)[number];

/** Bytes a run may take; undefined: the trainer chooses. */
export const allowedBytes = (card: Card): number | undefined => (card === 'auto' ? undefined : (Number(card) - 1) * 2 ** 30);

/** Requests that plan or train carry what is allowed, unless they say so themselves. */
export function withGpuMemory<R extends Request>(request: R, card: Card): R {
	const gpuMemory = allowedBytes(card);
	if (gpuMemory === undefined || !(request.type === 'estimate' || request.type === 'train' || request.type === 'findRate')) return request;
	return { ...request, request: { gpuMemory, ...request.request } };
}
