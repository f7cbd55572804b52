/**
 * One error type for every file that cannot be used.
 * The rule: say what is wrong, where, and what to do; `code` is stable and is what a translated message is looked up by.
 */

export type FormatErrorCode =
	// safetensors
	| 'empty'
	| 'truncated'
	| 'trailing-data'
	| 'header-size'
	| 'header-json'
	| 'header-entry'
	| 'duplicate-key'
	| 'dtype'
	| 'shape'
	| 'offsets'
	| 'missing-tensor'
	// things that are something else
	| 'lfs-pointer'
	| 'pickle'
	| 'gguf'
	| 'html'
	| 'not-safetensors'
	// checkpoints
	| 'is-lora'
	| 'is-vae'
	| 'not-vae'
	| 'is-diffusers'
	| 'is-unet-only'
	| 'is-sd2'
	| 'is-sd3'
	| 'is-flux'
	| 'is-refiner'
	| 'is-inpainting'
	| 'unknown-model'
	| 'incomplete-model'
	// pictures
	| 'not-png'
	| 'animated'
	| 'too-large'
	| 'corrupt'
	| 'unsupported-png'
	| 'text-chunk';

export class FormatError extends Error {
	override readonly name = 'FormatError';

	/**
	 * @param code stable id of the problem
	 * @param where which part of the file (a tensor name, `header`, `chunk tEXt`, byte offset)
	 * @param problem what is wrong, one sentence without a full stop
	 * @param remedy what to do, one sentence
	 * @param values numbers and names for a translated message
	 */
	constructor(
		readonly code: FormatErrorCode,
		readonly where: string,
		readonly problem: string,
		readonly remedy: string,
		readonly values: Readonly<Record<string, string | number>> = {}
	) {
		super(`${problem} (${where}). ${remedy}`);
	}
}
