/** A LoRA file that cannot be used: says what is wrong, where, and what to do. `code` is stable and the key of a translated message. */

export type LoraErrorCode =
	| 'lora.notLora'
	| 'lora.dora'
	| 'lora.otherKind'
	| 'lora.incomplete'
	| 'lora.shape'
	| 'lora.otherModel'
	| 'lora.partlyOther'
	| 'lora.textEncoderIgnored'
	| 'lora.notFinite'
	| 'lora.duplicate'
	| 'lora.unknownTensors'
	| 'lora.missingAlpha'
	| 'merge.noFiles'
	| 'merge.architectures'
	| 'merge.shapes'
	| 'merge.ranks'
	| 'merge.nothing'
	| 'merge.dimensionAboveRank'
	| 'merge.leftOut'
	| 'merge.overflow'
	| 'merge.notInCheckpoint'
	| 'extract.shapes'
	| 'extract.same';

export class LoraError extends Error {
	override readonly name = 'LoraError';

	constructor(
		readonly code: LoraErrorCode,
		/** Tensor or module name; empty for the whole file. */
		readonly where: string,
		message: string,
		readonly values: Readonly<Record<string, string | number>> = {}
	) {
		super(message);
	}
}
