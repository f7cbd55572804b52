/**
 * Few keys and many queries (text in a picture's attention) leave most of a GPU idle while keys' and values' gradients are summed over the queries. So the
 * queries are gone through in slices by workgroups of their own, whose sums a second dispatch adds in a fixed order.
 */
import type { Value } from '../graph/ir';
import type { Dispatch, Scratch, Target } from './dispatch';
import { bytesOf, elementsOf, flatWorkgroups, halves, packParams, read, write } from './lowering';
import { quadsOf } from './pointwise';

/** Enough workgroups for a large GPU, and the fewest steps of a slice. */
const WANTED_GROUPS = 256;
const SLICE_STEPS = 4;
const WORKGROUP = 64;

export interface Slices {
	/** Columns of each; a multiple of `step`. */
	readonly columns: number;
	readonly count: number;
}

/** How `groups` workgroups that go through `columns` in steps are multiplied; one slice where they are enough. */
export function chooseSlices(groups: number, columns: number, step: number): Slices {
	const steps = Math.ceil(columns / step);
	const wanted = Math.min(Math.ceil(WANTED_GROUPS / groups), Math.floor(steps / SLICE_STEPS));
	if (groups >= WANTED_GROUPS / 2 || wanted < 2) return { columns: steps * step, count: 1 };
	const each = Math.ceil(steps / wanted) * step;
	return { columns: each, count: Math.ceil(columns / each) };
}

export const partialOf = (out: Value, slices: Slices): Scratch => ({ scratch: `${out.name} (slices)`, elements: slices.count * elementsOf(out), dtype: 'f32' });

/** Adds the slices of two results. */
export function addSlices(pairs: readonly [[Scratch, Value], [Scratch, Value]], slices: Slices, label: string, family: string, target: Target): Dispatch {
	const [[partial1, out], [partial2, out2]] = pairs;
	const quads = quadsOf(out);
	const bindings = [read(partial1), read(partial2), write(out), write(out2)];
	return {
		shader: 'attention_reduce',
		conditions: halves(target, { out, out2 }),
		constants: { WORKGROUP },
		bindings,
		params: packParams(quads, slices.count),
		workgroups: flatWorkgroups(quads, WORKGROUP, target),
		label: `${label} sum of ${slices.count} slices`,
		family,
		flops: 8 * quads * slices.count,
		bytes: bindings.reduce((sum, { slot }) => sum + bytesOf(slot), 0)
	};
}
