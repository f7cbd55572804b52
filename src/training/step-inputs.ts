/** Writing a step's inputs: what every objective does alike. */
import type { UnetConfig } from '../diffusion/config';
import type { Program } from '../kernels/program';
import type { StepDraw } from './noising';
import type { Conditioning } from './sample';
import { TOKENS } from './step';
import type { StepInputs } from './step';
import { writeText } from './text';

/** Arrays one after the other. */
export function joined(parts: readonly Float32Array[]): Float32Array {
	const out = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
	let at = 0;
	for (const part of parts) {
		out.set(part, at);
		at += part.length;
	}
	return out;
}

/** @param items one conditioning for each item of the batch */
export function writeConditioning(
	program: Program,
	inputs: Pick<StepInputs, 'context' | 'vector' | 'text'>,
	config: UnetConfig,
	items: readonly Conditioning[]
): void {
	if (inputs.text) return writeText(program, inputs.text, items);
	for (const { context } of items)
		if (context.length !== TOKENS * config.contextDim)
			throw new RangeError(`The context has ${context.length} numbers instead of ${TOKENS * config.contextDim}.`);
	program.write(inputs.context, joined(items.map(({ context }) => context)));
	if (inputs.vector) program.write(inputs.vector, joined(items.map(({ vector }) => vector ?? new Float32Array(config.vectorDim))));
}

export function writeDraw(program: Program, inputs: StepInputs, draw: StepDraw): void {
	program.write(inputs.t, draw.t);
	program.write(inputs.coef, draw.coef);
	program.write(inputs.weight, draw.weight);
	program.write(inputs.counter, draw.counter);
	// (a, s) of x_t = a·x₀ + s·n become (−s, a) of v = a·n − s·x₀.
	if (inputs.velocity)
		program.write(
			inputs.velocity,
			draw.coef.map((_, i) => (i % 2 === 0 ? -(draw.coef[i + 1] ?? 0) : (draw.coef[i - 1] ?? 0)))
		);
}

/** Pictures without a mask count everywhere. */
export function writeMasks(
	program: Program,
	input: StepInputs['mask'],
	items: readonly { readonly mask?: Float32Array | undefined }[],
	{ height, width }: { readonly height: number; readonly width: number }
): void {
	if (input) program.write(input, joined(items.map(({ mask }) => mask ?? new Float32Array(height * width).fill(1))));
}
