/**
 * Small helpers for lowerings: conditions from storage types, parameter blocks, workgroup counts.
 */
import type { DType, Op, OpType, Scale, Value } from '../graph/ir';
import type { Binding, Dispatch, Slot, Target } from './dispatch';
import { quantisedPlaces } from './int8';

/** One op of a type → its dispatches. */
export type Lowering<T extends OpType> = (op: Extract<Op, { type: T }>, target: Target) => Dispatch[];

/** A kernel family's share of the table in `lower.ts`. */
export type Lowerings = { readonly [T in OpType]: Lowering<T> };

export const NO_SCALAR = 0xffffffff;

export const elementBytes = (dtype: DType): number => (dtype === 'i8' ? 1 : dtype === 'f16' ? 2 : 4);

export const elementsOf = (slot: Slot): number => ('scratch' in slot ? slot.elements : slot.shape.reduce((product, size) => product * size, 1));

/** Matrices in few bits carry more behind their first bytes. */
export const bytesOf = (slot: Slot): number => (slot.dtype === 'i8' ? quantisedPlaces(elementsOf(slot)).end : elementsOf(slot) * elementBytes(slot.dtype));

export const read = (slot: Slot): Binding => ({ slot, access: 'read' });
export const write = (slot: Slot): Binding => ({ slot, access: 'write' });

/** `{ f16, x_half: …, … }` for the named bindings. */
export function halves(target: Target, named: Readonly<Record<string, { readonly dtype: DType }>>): Record<string, boolean> {
	const conditions: Record<string, boolean> = {};
	let any = false;
	for (const [name, slot] of Object.entries(named)) {
		const half = slot.dtype === 'f16';
		conditions[`${name}_half`] = half;
		any ||= half;
	}
	conditions['f16'] = target.f16 && any;
	return conditions;
}

/** Fields in order: plain numbers become u32, `{ f32 }` become f32. Padded to 16 bytes. */
export function packParams(...fields: readonly (number | { readonly f32: number })[]): ArrayBuffer {
	const buffer = new ArrayBuffer(Math.max(16, Math.ceil(fields.length / 4) * 16));
	if (buffer.byteLength > 256) throw new Error(`A parameter block has ${fields.length} fields; at most 64 fit.`);
	const view = new DataView(buffer);
	fields.forEach((field, index) => {
		if (typeof field === 'number') view.setUint32(index * 4, field, true);
		else view.setFloat32(index * 4, field.f32, true);
	});
	return buffer;
}

/** The two fields `apply_scale` takes: factor (f32) and scalar index (u32). */
export function scaleParams(scale: Scale | undefined): [{ readonly f32: number }, number] {
	return [{ f32: scale?.factor ?? 1 }, scale?.scalar?.index ?? NO_SCALAR];
}

/** Workgroups for `count` invocations, folded over y when one dimension is not enough; pair with `flat_index` and a bounds check. */
export function flatWorkgroups(count: number, workgroupSize: number, target: Target): [number, number, number] {
	const groups = Math.max(1, Math.ceil(count / workgroupSize));
	if (groups <= target.maxWorkgroupsPerDimension) return [groups, 1, 1];
	const y = Math.ceil(groups / target.maxWorkgroupsPerDimension);
	return [Math.ceil(groups / y), y, 1];
}

/** For labels: the op and what it makes. */
export const labelOf = (type: string, out: Value): string => `${type} ${out.name}`;
