/**
 * The shape classes that are measured: what the UNets of the mini model, SD1.5 at 512² and SDXL at 1024² spend their time on, batch 1.
 * A matrix product is `[m, k]·[n, k]ᵀ`; a convolution is 3×3, stride 1, padding 1 over `size × size` pixels.
 */
export type Shape =
	{ kind: 'gemm'; label: string; m: number; k: number; n: number } | { kind: 'conv'; label: string; size: number; channels: number; outChannels: number };

const gemm = (label: string, m: number, k: number, n: number): Shape => ({ kind: 'gemm', label, m, k, n });
const conv = (label: string, size: number, channels: number, outChannels = channels): Shape => ({ kind: 'conv', label, size, channels, outChannels });

export const SHAPES: readonly Shape[] = [
	gemm('mini, first level, attention', 512, 64, 64),
	gemm('mini, first level, feed-forward', 512, 64, 512),
	gemm('mini, middle, attention', 8, 128, 128),
	gemm('rank 16 down factor', 1024, 640, 16),
	gemm('SD1.5 64², attention', 4096, 320, 320),
	gemm('SD1.5 64², feed-forward', 4096, 320, 2560),
	gemm('SD1.5 16², attention', 256, 1280, 1280),
	gemm('text keys and values', 77, 2048, 1280),
	gemm('SDXL 64², attention', 4096, 640, 640),
	gemm('SDXL 32², attention', 1024, 1280, 1280),
	gemm('SDXL 32², feed-forward', 1024, 1280, 10240),
	conv('mini 16²', 16, 64),
	conv('mini 4²', 4, 256, 128),
	conv('SD1.5 64²', 64, 320),
	conv('SD1.5 16²', 16, 1280),
	conv('SDXL 128²', 128, 320)
];

/** Multiplications and additions, both counted. */
export function flopsOf(shape: Shape): number {
	return shape.kind === 'gemm' ? 2 * shape.m * shape.k * shape.n : 2 * shape.size ** 2 * 9 * shape.channels * shape.outChannels;
}
