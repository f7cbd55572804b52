/**
 * The values that 8 bits stand for in block-wise quantised state: shaders/optimizer_blocks.wesl reads them.
 *
 * "Dynamic tree" quantisation (Dettmers 2016; Dettmers et al. 2022, as bitsandbytes' `create_dynamic_map`): seven decades from 10^-7 to 1, each with twice as many values as the
 * one below. Within a decade the values are the middles between equally spaced bounds from 0.1 to 1 of it. Signed: 127 each side, 0 and 1; for squares: twice as many, 0 and 1.
 */
const DECADES = 7;

/** 256 ascending values. */
export function dynamicCodes(signed: boolean): Float32Array {
	const values = [0, 1];
	for (let decade = 0; decade < DECADES; decade++) {
		const scale = 10 ** (decade - DECADES + 1);
		const count = signed ? 2 ** decade : 2 ** (decade + 1);
		for (let i = 0; i < count; i++) {
			const value = scale * (0.1 + (0.9 * (i + 0.5)) / count);
			values.push(value, ...(signed ? [-value] : []));
		}
	}
	return Float32Array.from(values).sort();
}
