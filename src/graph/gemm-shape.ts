/**
 * What a gemm's parts must look like: for every way of reading the left and right matrix, the shape the stored value has to have.
 * All sizes are checked against m, n and k when the operation is made, so that a wrong graph fails with names, not with wrong numbers.
 */
import type { GemmOp, GemmTerm, Value } from './ir';
import { channelsOf, convSize, elementsOf, GraphError, rowsOf, show } from './shape';

function fail(op: GemmOp, why: string): never {
	throw new GraphError(`gemm ${show(op.out)} (m ${op.m}, n ${op.n}): ${why}`);
}

function checkA(op: GemmOp, term: GemmTerm): void {
	const { a, aMode: mode, k } = term;
	const where = () => `left matrix ${show(a)} with right matrix ${show(term.b)}, k ${k}`;
	switch (mode.kind) {
		case 'rows':
			if (channelsOf(a) !== k || rowsOf(a) !== op.m) fail(op, `rows must be [m, k]; ${where()}`);
			return;
		case 'cols':
			if (channelsOf(a) !== op.m || rowsOf(a) !== k) fail(op, `cols must be stored [k, m]; ${where()}`);
			return;
		case 'conv': {
			const grow = mode.upsample ? 2 : 1;
			const batch = elementsOf(a.shape) / (mode.height * mode.width * mode.channels);
			const rows = batch * convSize(mode.height * grow, mode.stride) * convSize(mode.width * grow, mode.stride);
			if (channelsOf(a) !== mode.channels || k !== 9 * mode.channels || rows !== op.m) fail(op, `conv does not fit; ${where()}`);
			return;
		}
		case 'convTransposed': {
			const rows = convSize(mode.height, mode.stride) * convSize(mode.width, mode.stride);
			const batch = rowsOf(a) / rows;
			if (channelsOf(a) !== mode.channels || k !== 9 * mode.channels || batch * mode.height * mode.width !== op.m)
				fail(op, `convTransposed does not fit; ${where()}`);
			return;
		}
	}
}

function checkB(op: GemmOp, term: GemmTerm): void {
	const { b, bMode: mode, k } = term;
	const column = term.bColumn ?? 0;
	const where = () => `right matrix ${show(b)} from column ${column} with left matrix ${show(term.a)}, k ${k}`;
	switch (mode.kind) {
		case 'nk':
			if (rowsOf(b) !== op.n || column + k > channelsOf(b)) fail(op, `nk must be stored [n, k]; ${where()}`);
			return;
		case 'kn':
			if (rowsOf(b) !== k || column + op.n > channelsOf(b)) fail(op, `kn must be stored [k, n]; ${where()}`);
			return;
		case 'convWeightTransposed':
			if (mode.channels !== op.n || channelsOf(b) !== 9 * op.n || rowsOf(b) * 9 !== k || column !== 0)
				fail(op, `convWeightTransposed does not fit; ${where()}`);
			return;
		case 'convPatches': {
			const grow = mode.upsample ? 2 : 1;
			const batch = elementsOf(b.shape) / (mode.height * mode.width * mode.channels);
			const rows = batch * convSize(mode.height * grow, mode.stride) * convSize(mode.width * grow, mode.stride);
			if (channelsOf(b) !== mode.channels || op.n !== 9 * mode.channels || rows !== k || column !== 0) fail(op, `convPatches does not fit; ${where()}`);
			return;
		}
	}
}

function checkExtra(op: GemmOp, what: string, value: Value | undefined, fits: (value: Value) => boolean): void {
	if (value && !fits(value)) fail(op, `the ${what} ${show(value)} does not fit ${show(op.out)}`);
}

/** Throws a GraphError that names the values which do not fit together. */
export function checkGemm(op: GemmOp): void {
	if (op.terms.length === 0) fail(op, 'there are no terms');
	if (elementsOf(op.out.shape) !== op.m * op.n || channelsOf(op.out) !== op.n) fail(op, 'the result must be [m, n]');
	for (const term of op.terms) {
		checkA(op, term);
		checkB(op, term);
	}
	checkExtra(op, 'bias', op.bias, (bias) => elementsOf(bias.shape) === op.n);
	checkExtra(op, 'rowBias', op.rowBias, (bias) => channelsOf(bias) === op.n && op.m % rowsOf(bias) === 0);
	checkExtra(op, 'residual', op.residual, (residual) => channelsOf(residual) === op.n && rowsOf(residual) === op.m);
}
