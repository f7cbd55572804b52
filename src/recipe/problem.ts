/**
 * What is wrong with a recipe (or may surprise): one object per finding, made for people and for translation alike.
 * Structurally the `Problem` of the service protocol; declared here because this room imports nothing.
 */

export type RecipeProblemCode =
	| 'recipe.notObject'
	| 'recipe.version'
	| 'recipe.unknownField'
	| 'recipe.notNumber'
	| 'recipe.notWhole'
	| 'recipe.notText'
	| 'recipe.notBoolean'
	| 'recipe.notList'
	| 'recipe.tooSmall'
	| 'recipe.tooLarge'
	| 'recipe.tooLong'
	| 'recipe.tooShort'
	| 'recipe.notOneOf'
	| 'recipe.badName'
	| 'recipe.badHash'
	| 'recipe.badRules'
	| 'recipe.timestepRange'
	| 'recipe.invalid'
	| 'recipe.alphaAboveRank'
	| 'recipe.alphaZero'
	| 'recipe.warmupTooLong'
	| 'recipe.rateHighForBatch'
	| 'recipe.textEncoderBlock'
	| 'recipe.textEncoderAttention'
	| 'recipe.textRateIgnored'
	| 'recipe.sameSeed'
	| 'recipe.lohaIgnores'
	| 'recipe.int8Loha'
	| 'recipe.convWithoutUse'
	| 'recipe.rankAboveWidth'
	| 'recipe.eightBit'
	| 'recipe.rateLowForAdaptive'
	| 'recipe.noCopierFile'
	| 'recipe.noConcept'
	| 'recipe.noSuffix'
	| 'recipe.addiftLong'
	| 'recipe.addiftMultiplier'
	| 'recipe.notMultiple'
	| 'traintrain.notPreset'
	| 'traintrain.unsupported'
	| 'link.empty'
	| 'link.tooLong'
	| 'link.notBase64'
	| 'link.notDeflate'
	| 'link.tooBig'
	| 'link.notJson';

export interface RecipeProblem {
	level: 'error' | 'warning';
	/** Stable id, also the key of the translated text. */
	code: RecipeProblemCode;
	/** Field path with dots, e.g. `passes.copier.learningRate`; empty for the whole document. */
	where: string;
	/** Values for the message. */
	values: Record<string, string | number>;
	/** English: what is wrong, where, what to do. */
	message: string;
}

const SHOWN = 60;

/** A value as it may stand in a message: short, on one line, never an object dump. */
export function shown(value: unknown): string {
	if (value === null) return 'null';
	if (value === undefined) return 'nothing';
	if (Array.isArray(value)) return `a list of ${value.length}`;
	if (typeof value === 'object') return 'an object';
	const text = typeof value === 'string' ? `"${value}"` : String(value);
	return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
}

export function problem(
	level: RecipeProblem['level'],
	code: RecipeProblemCode,
	where: string,
	values: Record<string, string | number>,
	message: string
): RecipeProblem {
	return { level, code, where, values, message };
}
