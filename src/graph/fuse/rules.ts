/**
 * The rewrite rules. Each is one equation between operations:
 *
 * - addOfGemms:       (s·ΣA·B + …) + (s·ΣC·D + …)  =  s·(ΣA·B + ΣC·D) + …     when the scales agree and no extra comes twice
 * - residualIsGemm:   the same, where the second gemm came in as the first one's residual
 * - addToGemm:        (s·ΣA·B + …) + v             =  s·ΣA·B + … + residual v
 * - addToNormGrad:    dx of a norm + v           =  dx of the norm with residual v
 * - scaleOfGemm:      t·(s·ΣA·B)                   =  (t·s)·ΣA·B
 * - scaleOfScale:     t·(s·x)                      =  (t·s)·x
 * - upsampleIntoConv: conv(upsample2x(x))          =  conv read with `upsample`
 *
 * In all but the last, the inner result must have no other reader. What is fused skips a round trip through memory, and one rounding.
 */
import type { GemmOp, GemmTerm, Op, Scale, Value } from '../ir';
import { sameScale } from '../shape';
import type { Rewriter, Rule } from './rewriter';

/** Terms that one kernel can run through: forward (rows and patches), input gradients of either kind, factor gradients of either kind. */
function direction(term: GemmTerm): string {
	return term.bMode.kind === 'nk' ? 'forward' : `${term.aMode.kind}·${term.bMode.kind}`;
}

function gemmOnlyFor(value: Value, rewriter: Rewriter): GemmOp | undefined {
	const maker = rewriter.onlyFor(value);
	return maker?.type === 'gemm' ? maker : undefined;
}

/** The product of two scales, when it needs no more than one scalar. */
function product(a: Scale | undefined, b: Scale | undefined): Scale | undefined {
	if (a?.scalar && b?.scalar) return undefined;
	const scalar = a?.scalar ?? b?.scalar;
	return { factor: (a?.factor ?? 1) * (b?.factor ?? 1), ...(scalar ? { scalar } : {}) };
}

/** One gemm for the sum of two, if that is allowed. The second one's terms come last. */
function merge(first: GemmOp, second: GemmOp, out: Value, rewriter: Rewriter): GemmOp | undefined {
	if (first.m !== second.m || first.n !== second.n || !sameScale(first.scale, second.scale)) return undefined;
	if ((first.bias && second.bias) || (first.rowBias && second.rowBias) || (first.residual && second.residual)) return undefined;
	const terms = [...first.terms, ...second.terms];
	if (terms.length > rewriter.maxTerms || new Set(terms.map(direction)).size > 1) return undefined;
	return { ...first, ...second, terms, out };
}

export const addOfGemms: Rule = (op, rewriter) => {
	if (op.type !== 'add' || op.a === op.b) return undefined;
	const a = gemmOnlyFor(op.a, rewriter);
	const b = gemmOnlyFor(op.b, rewriter);
	return a && b && merge(a, b, op.out, rewriter);
};

export const residualIsGemm: Rule = (op, rewriter) => {
	if (op.type !== 'gemm' || !op.residual) return undefined;
	const inner = gemmOnlyFor(op.residual, rewriter);
	if (!inner) return undefined;
	const { residual: _absorbed, ...rest } = op;
	return merge(inner, rest, op.out, rewriter);
};

/**
 * The operand that is a gemm takes the other as residual. Of two gemms the one with fewer terms does, which leaves room for the next addend;
 * of equal ones the later, so that less has to wait.
 */
export const addToGemm: Rule = (op, rewriter) => {
	if (op.type !== 'add' || op.a === op.b) return undefined;
	const pairs = [
		{ inner: gemmOnlyFor(op.a, rewriter), residual: op.b },
		{ inner: gemmOnlyFor(op.b, rewriter), residual: op.a }
	].flatMap(({ inner, residual }) => (inner && !inner.residual ? [{ inner, residual }] : []));
	pairs.sort((a, b) => a.inner.terms.length - b.inner.terms.length || rewriter.position(b.inner.out) - rewriter.position(a.inner.out));
	const [best] = pairs;
	return best && { ...best.inner, residual: best.residual, out: op.out };
};

/** A value that the norm already reads is not bound twice. */
export const addToNormGrad: Rule = (op, rewriter) => {
	if (op.type !== 'add' || op.a === op.b) return undefined;
	const candidates = [
		{ inner: rewriter.onlyFor(op.a), residual: op.b },
		{ inner: rewriter.onlyFor(op.b), residual: op.a }
	];
	for (const { inner, residual } of candidates) {
		if (inner?.type !== 'layerNormGrad' && inner?.type !== 'groupNormGrad') continue;
		if (!inner.residual && residual !== inner.x && residual !== inner.dy) return { ...inner, residual, out: op.out };
	}
	return undefined;
};

export const scaleOfGemm: Rule = (op, rewriter) => {
	if (op.type !== 'scale') return undefined;
	const inner = gemmOnlyFor(op.x, rewriter);
	const scale = product(inner?.scale, op.scale);
	if (!inner || !scale || inner.bias || inner.rowBias || inner.residual) return undefined;
	return { ...inner, scale, out: op.out };
};

export const scaleOfScale: Rule = (op, rewriter) => {
	if (op.type !== 'scale') return undefined;
	const inner = rewriter.onlyFor(op.x);
	if (inner?.type !== 'scale') return undefined;
	const scale = product(inner.scale, op.scale);
	return scale && { ...op, x: inner.x, scale };
};

export const upsampleIntoConv: Rule = (op, rewriter) => {
	if (op.type !== 'gemm') return undefined;
	const smaller = (value: Value): Value | undefined => {
		const maker: Op | undefined = rewriter.maker(value);
		return maker?.type === 'upsample2x' ? maker.x : undefined;
	};
	let changed = false;
	const terms = op.terms.map((term): GemmTerm => {
		const { aMode, bMode } = term;
		const left = aMode.kind === 'conv' && !aMode.upsample ? smaller(term.a) : undefined;
		const right = bMode.kind === 'convPatches' && !bMode.upsample ? smaller(term.b) : undefined;
		if (left && aMode.kind === 'conv') {
			changed = true;
			return { ...term, a: left, aMode: { ...aMode, upsample: true, height: aMode.height / 2, width: aMode.width / 2 } };
		}
		if (right && bMode.kind === 'convPatches') {
			changed = true;
			return { ...term, b: right, bMode: { ...bMode, upsample: true, height: bMode.height / 2, width: bMode.width / 2 } };
		}
		return term;
	});
	return changed ? { ...op, terms } : undefined;
};

/** In the order they are tried: joining terms saves most. */
export const RULES: readonly Rule[] = [upsampleIntoConv, scaleOfScale, scaleOfGemm, addOfGemms, residualIsGemm, addToGemm, addToNormGrad];
