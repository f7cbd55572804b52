/**
 * What an operation becomes: a flat list of dispatches over named storage slots. One file per kernel family turns ops into these
 * (`lower…`), `program.ts` plans memory over them, builds pipelines and bind groups, and records the list.
 *
 * Bind group 0 holds the storage bindings in order; bind group 1 holds, at binding 0, this dispatch's constants (`params`, a
 * uniform written once when the program is built) and, at binding 1, the step's uniform block (`array<vec4f, 16>`: the named scalars).
 */
import type { DType, Value } from '../graph/ir';
import type { Tuning } from './tune-table';

/** Memory that lives only inside one lowered operation (split-K partials, row sums). Sized in elements of `dtype`. */
export interface Scratch {
	readonly scratch: string;
	readonly elements: number;
	readonly dtype: DType;
}

export type Slot = Value | Scratch;

export interface Binding {
	readonly slot: Slot;
	readonly access: 'read' | 'write' | 'readWrite';
	/** Its number in the shader where that is not its place in the list, for kernels with optional bindings. */
	readonly binding?: number;
}

export interface Dispatch {
	/** Root module: `shaders/<shader>.wesl`. */
	readonly shader: string;
	/** `@if` switches, e.g. which binding is stored in halves. Part of the pipeline's identity. */
	readonly conditions: Readonly<Record<string, boolean>>;
	/** Baked constants (tile sizes), imported in WESL from `constants::`. Part of the pipeline's identity; shapes go to `params`. */
	readonly constants: Readonly<Record<string, number>>;
	readonly bindings: readonly Binding[];
	/** Little-endian struct of u32/f32 as the shader declares it; padded to 16 bytes. */
	readonly params: ArrayBuffer;
	readonly workgroups: readonly [number, number, number];
	/** For people: the op and the value it makes. */
	readonly label: string;
	/** Kernel family for timings: gemm, conv, norm, attention, pointwise, loss, optimizer. */
	readonly family: string;
	/** Floating-point operations and bytes that must move at least once, for rates and for splitting submits. */
	readonly flops: number;
	readonly bytes: number;
}

/** What a lowering may ask about the machine. */
export interface Target {
	readonly f16: boolean;
	readonly subgroups: boolean;
	/** Lanes of every subgroup where the adapter knows only one size; 0 otherwise. */
	readonly subgroupSize: number;
	/** 16 × 16 matrices of halves in subgroups of 32. */
	readonly subgroupMatrix: boolean;
	/** The device clamps no accesses. */
	readonly unclamped?: boolean;
	readonly maxWorkgroupInvocations: number;
	readonly maxWorkgroupStorage: number;
	readonly maxWorkgroupsPerDimension: number;
	/** Bindings of one dispatch; a gemm of many terms is split to stay below it. */
	readonly maxStorageBuffers: number;
	/** A software adapter: prefer few, fat invocations without workgroup memory. */
	readonly software: boolean;
	/** Which tiles a measurement on this machine found best. */
	readonly tuning?: Tuning | undefined;
}
