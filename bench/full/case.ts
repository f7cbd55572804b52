/** What is measured, and what a step and a forward pass have in common. */
import type { Program } from '../../src/kernels/program';
import { rows } from './table';
import type { Row } from './table';

export interface Case {
	/** Side of the picture in pixels. */
	readonly size: number;
	readonly rank: number;
	/** Rank of 3×3 convolutions; 0: transformers only. */
	readonly convRank: number;
	readonly batch: number;
	/** For intermediates; absent: nothing is recomputed. */
	readonly budgetBytes: number | undefined;
	readonly steps: number;
	readonly profile: boolean;
}

export interface Profile {
	readonly total: number;
	readonly families: Row[];
	/** The slowest shapes: kernel and arrays. */
	readonly shapes: Row[];
}

export const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
/** Numbers of about unit size. */
export const numbers = (count: number): Float32Array =>
	Float32Array.from({ length: count }, (_, i) => Math.sin(i * 12.9898 + Math.sin(i * 0.37) * 78.233) * 1.4);

const SHAPES_SHOWN = 48;

export async function profiled(program: Program, scalars: Readonly<Record<string, number>>): Promise<Profile> {
	const timings = await program.profile(scalars);
	return {
		total: timings.reduce((sum, { ms }) => sum + ms, 0),
		families: rows(timings, ({ family, shader }) => `${family} ${shader}`),
		shapes: rows(timings, ({ shader, shape }) => `${shader} ${shape}`).slice(0, SHAPES_SHOWN)
	};
}
