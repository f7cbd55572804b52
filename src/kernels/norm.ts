/**
 * GroupNorm(+SiLU) and LayerNorm, forward and input gradient (gamma and beta are frozen).
 *
 * Rule: a picture whose blocks of channels fit the registers of one workgroup, or its patience, is normalised in one dispatch; a taller one in three small ones
 * (per-chunk sums, merge, apply), so that one 128×128×320 picture still fills a GPU. No atomics: sums merge in a fixed order.
 */
import type { GroupNormGradOp, GroupNormOp, LayerNormGradOp, LayerNormOp, Value } from '../graph/ir';
import type { Binding, Dispatch, Scratch, Target } from './dispatch';
import { bytesOf, elementsOf, halves, labelOf, packParams, read, write, type Lowerings } from './lowering';
import { flatDispatch, quadColumns } from './pointwise';

const FAMILY = 'norm';

/** Quads of one block (rows × quads across) beyond which a single workgroup would work too long alone. */
const ONE_WORKGROUP_QUADS = 8192;
const CHUNK_ROWS = 256;
/** Rows of a quad (two with gradients) that a lane of a group norm keeps in registers at most. */
const MOST_ROWS = 24;
/** Quads of a row (two rows with gradients) that a lane of a layer norm keeps in registers at most. */
const MOST_HELD = 16;

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));
const totalBytes = (bindings: readonly Binding[]): number => bindings.reduce((sum, { slot }) => sum + bytesOf(slot), 0);

interface Shape {
	readonly batch: number;
	readonly rows: number;
	readonly columns: number;
	/** Channels of a group. */
	readonly group: number;
	/** Quads and groups of a block: the fewest channels that are whole quads and whole groups. */
	readonly block: number;
	readonly blockGroups: number;
	readonly blocks: number;
}

function shapeOf(x: Value, groups: number): Shape {
	const columns = quadColumns(x);
	const batch = x.shape[0] ?? 1;
	const group = (columns * 4) / groups;
	if (!Number.isInteger(group)) throw new Error(`${x.name}: ${columns * 4} channels do not divide into ${groups} groups.`);
	const block = group / gcd(group, 4);
	return { batch, rows: elementsOf(x) / (columns * 4) / batch, columns, group, block, blockGroups: (block * 4) / group, blocks: columns / block };
}

interface GroupNormWork {
	readonly op: GroupNormOp | GroupNormGradOp;
	readonly shape: Shape;
	readonly conditions: Readonly<Record<string, boolean>>;
	readonly label: string;
	readonly eps: number;
	/** Floating-point operations of the whole. */
	readonly flops: number;
}

const residualOf = (op: GroupNormOp | GroupNormGradOp): Binding[] => (op.type === 'groupNormGrad' && op.residual ? [read(op.residual)] : []);

/** Only the last dispatch of a gradient knows the residual. */
function residualConditions(op: GroupNormOp | GroupNormGradOp, target: Target): Record<string, boolean> {
	if (op.type !== 'groupNormGrad' || !op.residual) return {};
	return { ...halves(target, { x: op.x, weight: op.gamma, out: op.out, dy: op.dy, residual: op.residual }), residual: true };
}

function lowerGroupNorm(op: GroupNormOp | GroupNormGradOp, target: Target): Dispatch[] {
	const gradient = op.type === 'groupNormGrad';
	const shape = shapeOf(op.x, op.groups);
	if (op.gamma.dtype !== op.beta.dtype) throw new Error(`${op.out.name}: gamma and beta are stored differently.`);
	const work: GroupNormWork = {
		op,
		shape,
		conditions: {
			...halves(target, { x: op.x, weight: op.gamma, out: op.out, ...(gradient ? { dy: op.dy } : {}) }),
			silu: op.silu,
			gradient
		},
		label: labelOf(op.type, op.out),
		eps: gradient ? 0 : op.eps,
		flops: elementsOf(op.x) * ((gradient ? 10 : 7) + (op.silu ? (gradient ? 14 : 6) : 0))
	};
	const alone = target.software || shape.rows * shape.block <= ONE_WORKGROUP_QUADS || heldBy(work, target) > 0;
	return alone ? [inOne(work, target)] : inThree(work, target);
}

function lanesOf({ rows, block }: Shape, target: Target): number {
	return target.software ? 8 : Math.min(rows * block > 2048 ? 512 : 256, target.maxWorkgroupInvocations);
}

/** Rows that each lane keeps in registers; 0 when they are too many. */
function heldBy({ op, shape }: GroupNormWork, target: Target): number {
	const held = Math.ceil(shape.rows / Math.floor(lanesOf(shape, target) / shape.block));
	return !target.software && held <= (op.x.dtype === 'f16' ? MOST_ROWS : MOST_ROWS / 2) ? held : 0;
}

function inOne(work: GroupNormWork, target: Target): Dispatch {
	const { op, shape, conditions, label, eps, flops } = work;
	const gradient = op.type === 'groupNormGrad';
	const jobs = shape.batch * shape.blocks;
	const workgroup = lanesOf(shape, target);
	const held = heldBy(work, target);
	if (!target.software && shape.block > workgroup) throw new Error(`${label}: groups of ${shape.group} channels are too wide.`);
	// beta is only read to recompute the SiLU; it stays bound so that both cases share one layout.
	const bindings = [
		read(op.x),
		read(op.gamma),
		read(op.beta),
		...(gradient ? [read(op.stats), read(op.dy)] : [write(op.stats)]),
		write(op.out),
		...residualOf(op)
	];
	return {
		shader: 'group_norm',
		conditions: { ...conditions, ...residualConditions(op, target), software: target.software, held: held > 0 },
		constants: { WORKGROUP: workgroup, HELD: held },
		bindings,
		params: packParams(
			shape.rows,
			shape.columns,
			shape.group,
			shape.block,
			shape.blockGroups,
			shape.blocks,
			jobs,
			{ f32: 1 / (shape.rows * shape.group) },
			{ f32: eps }
		),
		workgroups: [target.software ? Math.ceil(jobs / workgroup) : jobs, 1, 1],
		label,
		family: FAMILY,
		flops,
		bytes: totalBytes(bindings)
	};
}

function inThree({ op, shape, conditions, label, eps, flops }: GroupNormWork, target: Target): Dispatch[] {
	const gradient = op.type === 'groupNormGrad';
	const { batch, rows, columns, group } = shape;
	const chunks = Math.ceil(rows / CHUNK_ROWS);
	const sums: Scratch = { scratch: 'groupNorm.sums', elements: batch * chunks * 2 * columns * 4, dtype: 'f32' };
	const means: Scratch = { scratch: 'groupNorm.means', elements: batch * op.groups * 2, dtype: 'f32' };
	const partialBindings = [read(op.x), write(sums), ...(gradient ? [read(op.dy), read(op.stats), read(op.gamma), read(op.beta)] : [])];
	const lanes = target.maxWorkgroupInvocations >= 256 ? 16 : 8;
	const partial: Dispatch = {
		shader: 'group_norm_partial',
		conditions,
		constants: { COLUMNS: 16, LANES: lanes },
		bindings: partialBindings,
		params: packParams(rows, columns, CHUNK_ROWS, chunks, group, op.groups),
		workgroups: [Math.ceil(columns / 16), chunks, batch],
		label,
		family: FAMILY,
		flops: flops / 2,
		bytes: totalBytes(partialBindings)
	};
	const merged = gradient ? means : op.stats;
	const merge: Dispatch = {
		shader: 'group_norm_merge',
		conditions: { gradient },
		constants: { LANES: 64 },
		bindings: [read(sums), write(merged)],
		params: packParams(rows, columns * 4, CHUNK_ROWS, chunks, group, op.groups, { f32: 1 / (rows * group) }, { f32: eps }),
		workgroups: [op.groups, batch, 1],
		label,
		family: FAMILY,
		flops: 6 * sums.elements,
		bytes: bytesOf(sums) + bytesOf(merged)
	};
	const quads = elementsOf(op.x) / 4;
	const apply = flatDispatch(
		{
			shader: 'group_norm_apply',
			conditions: { ...conditions, ...residualConditions(op, target) },
			bindings: [read(op.x), read(op.gamma), read(op.beta), read(op.stats), ...(gradient ? [read(op.dy), read(means)] : []), write(op.out), ...residualOf(op)],
			params: packParams(quads, rows, columns, group, op.groups),
			count: quads,
			work: flops / 2 / quads,
			label,
			family: FAMILY
		},
		target
	);
	return [partial, merge, apply];
}

function lowerLayerNorm(op: LayerNormOp | LayerNormGradOp, target: Target): Dispatch[] {
	const gradient = op.type === 'layerNormGrad';
	const columns = quadColumns(op.x);
	const rows = elementsOf(op.x) / (columns * 4);
	// 320 channels are five quads for each of 16 lanes.
	const lanes = target.software ? 1 : columns % 32 > 0 && columns % 16 === 0 ? 16 : 32;
	// Few rows: smaller workgroups, so that every core has one.
	const height = (rows <= 2048 ? 128 : 256) / Math.max(16, lanes);
	const held = columns / lanes;
	const holds = !target.software && Number.isInteger(held) && held <= MOST_HELD;
	const groups = Math.ceil(rows / height);
	const y = Math.ceil(groups / target.maxWorkgroupsPerDimension);
	if (!gradient && op.gamma.dtype !== op.beta.dtype) throw new Error(`${op.out.name}: gamma and beta are stored differently.`);
	const residual = gradient ? op.residual : undefined;
	const bindings = [
		read(op.x),
		read(op.gamma),
		...(gradient ? [read(op.stats), read(op.dy)] : [write(op.stats), read(op.beta)]),
		write(op.out),
		...(residual ? [read(residual)] : [])
	];
	return [
		{
			shader: 'layer_norm',
			conditions: {
				...halves(target, { x: op.x, weight: op.gamma, out: op.out, ...(gradient ? { dy: op.dy } : {}), ...(residual ? { residual } : {}) }),
				gradient,
				residual: residual !== undefined,
				software: target.software,
				held: holds,
				// A row's lanes are one subgroup: they add up without workgroup memory.
				subgroups: lanes > 1 && target.subgroupSize > 0 && target.subgroupSize % lanes === 0
			},
			constants: { LANES: lanes, ROWS: height, HELD: holds ? held : 0 },
			bindings,
			params: packParams(rows, columns, { f32: 1 / (columns * 4) }, { f32: gradient ? 0 : op.eps }),
			workgroups: [Math.ceil(groups / y), y, 1],
			label: labelOf(op.type, op.out),
			family: FAMILY,
			flops: elementsOf(op.x) * (gradient ? 10 : 7),
			bytes: totalBytes(bindings)
		}
	];
}

export const norm = {
	groupNorm: lowerGroupNorm,
	groupNormGrad: lowerGroupNorm,
	layerNorm: lowerLayerNorm,
	layerNormGrad: lowerLayerNorm
} satisfies Partial<Lowerings>;
