/**
 * The table from operation types to kernels, and what the kernels may know about the machine.
 */
import type { Gpu } from '../gpu/gpu';
import type { Op, OpType } from '../graph/ir';
import type { Dispatch, Target } from './dispatch';
import { attention } from './attention';
import { gelu } from './gelu';
import { gemm } from './gemm';
import { loss } from './loss';
import type { Lowerings } from './lowering';
import { noise } from './noise';
import { norm } from './norm';
import { pointwise } from './pointwise';
import { tuningOf } from './tune-table';

/** Each family contributes its operations; a type nobody lowers is reported by name when a graph needs it. */
const table: Partial<Lowerings> = { ...gemm, ...pointwise, ...gelu, ...loss, ...noise, ...norm, ...attention };

export function targetOf(gpu: Gpu): Target {
	return {
		f16: gpu.f16,
		subgroups: gpu.subgroups,
		subgroupSize: gpu.subgroupSize,
		subgroupMatrix: gpu.subgroupMatrix,
		unclamped: gpu.unclamped === true,
		maxWorkgroupInvocations: gpu.limits.maxComputeInvocationsPerWorkgroup,
		maxWorkgroupStorage: gpu.limits.maxComputeWorkgroupStorageSize,
		maxWorkgroupsPerDimension: gpu.limits.maxComputeWorkgroupsPerDimension,
		maxStorageBuffers: gpu.limits.maxStorageBuffersPerShaderStage,
		software: gpu.adapter.software,
		tuning: tuningOf(gpu.device)
	};
}

export function lower(op: Op, target: Target): Dispatch[] {
	return lowerWith(table, op, target);
}

function lowerWith<T extends OpType>(
	lowerings: { [K in T]?: (op: Extract<Op, { type: K }>, target: Target) => Dispatch[] },
	op: Extract<Op, { type: T }>,
	target: Target
): Dispatch[] {
	const type: T = op.type;
	const lowering = lowerings[type];
	if (!lowering) throw new Error(`No kernel computes '${type}'.`);
	return lowering(op, target);
}
