/** GELU by itself, as text encoders of the OpenCLIP kind have it, and its gradient (`shaders/gelu.wesl`). Inside a transformer of the UNet it comes as part of GEGLU. */
import type { GeluGradOp, GeluOp } from '../graph/ir';
import type { Dispatch, Target } from './dispatch';
import { halves, labelOf, packParams, read, write, type Lowerings } from './lowering';
import { flatDispatch, quadsOf } from './pointwise';

function lowerGelu({ x, out }: GeluOp, target: Target): Dispatch[] {
	const quads = quadsOf(out);
	const conditions = halves(target, { x, out });
	const bindings = [read(x), write(out)];
	return [flatDispatch({ shader: 'gelu', label: labelOf('gelu', out), conditions, bindings, params: packParams(quads), count: quads, work: 150 }, target)];
}

function lowerGeluGrad({ x, dy, out }: GeluGradOp, target: Target): Dispatch[] {
	const quads = quadsOf(out);
	const conditions = { ...halves(target, { x, dy, out }), gradient: true };
	const bindings = [read(x), read(dy), write(out)];
	return [flatDispatch({ shader: 'gelu', label: labelOf('geluGrad', out), conditions, bindings, params: packParams(quads), count: quads, work: 180 }, target)];
}

export const gelu = { gelu: lowerGelu, geluGrad: lowerGeluGrad } satisfies Partial<Lowerings>;
