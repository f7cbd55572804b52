/** Standard normal numbers on the GPU: Philox 4×32-10, the variant WebUI calls "NV". No state: every number is a function of seed, offset and place. */
import type { GaussianOp } from '../graph/ir';
import type { Dispatch, Target } from './dispatch';
import { halves, labelOf, packParams, read, write, type Lowerings } from './lowering';
import { flatDispatch, quadColumns, quadsOf } from './pointwise';

function lowerGaussian({ counter, out }: GaussianOp, target: Target): Dispatch[] {
	const quads = quadsOf(out);
	const columns = quadColumns(out);
	const pixels = quads / columns / (out.shape[0] ?? 1);
	return [
		flatDispatch(
			{
				shader: 'gaussian',
				label: labelOf('gaussian', out),
				conditions: halves(target, { out }),
				bindings: [read(counter), write(out)],
				params: packParams(quads, pixels, columns),
				count: quads,
				// Integer rounds counted as operations: ten of about thirty, then the logarithm and the sine.
				work: 4 * 360
			},
			target
		)
	];
}

export const noise = { gaussian: lowerGaussian } satisfies Partial<Lowerings>;
