/**
 * What a training step is made of, without a GPU: operations and dispatches of SD1.5 at 512² and SDXL at 1024² (batch 1, rank 16, default modules) as a card with subgroup
 * matrices would get them. Counts, work and bytes by kind; one table for each model.
 *
 *   npx vite build --ssr bench/dispatches.ts --outDir dist/bench
 *   node dist/bench/dispatches.js [--model sd15|sdxl] [--rank 16] [--plain] [--apart] [--budget GiB] [--list gemm]
 *
 * --plain: without matrices; --apart: one product in each dispatch, which no card gets; --budget: what intermediates may take, the rest is recomputed.
 */
import { parseArgs } from 'node:util';
import { SD15_UNET, SDXL_UNET } from '../src/diffusion/config';
import { unetModules } from '../src/diffusion/unet-layout';
import type { GemmOp, Op } from '../src/graph/ir';
import type { Dispatch, Slot, Target } from '../src/kernels/dispatch';
import { recompute } from '../src/graph/recompute';
import { planMemory } from '../src/graph/plan';
import { groupOps, lowerGroup } from '../src/kernels/batch';
import { slotBytes, traffic } from '../src/kernels/residency';
import { selectModules } from '../src/lora/modules';
import { UNET_BLOCKS, defaultPasses } from '../src/recipe/defaults';
import { buildStep } from '../src/training/step';

const { values: args } = parseArgs({
	options: {
		model: { type: 'string', default: 'sdxl' },
		rank: { type: 'string', default: '16' },
		plain: { type: 'boolean', default: false },
		apart: { type: 'boolean', default: false },
		budget: { type: 'string' },
		list: { type: 'string' }
	}
});

/** An H100 as Dawn shows it. */
const target: Target = {
	f16: true,
	subgroups: true,
	subgroupSize: 32,
	subgroupMatrix: !args.plain,
	unclamped: true,
	maxWorkgroupInvocations: 1024,
	maxWorkgroupStorage: 49152,
	maxWorkgroupsPerDimension: 65535,
	maxStorageBuffers: 16,
	software: false
};

const family = args.model === 'sd15' ? 'sd15' : 'sdxl';
const unet = family === 'sd15' ? SD15_UNET : SDXL_UNET;
const side = (family === 'sd15' ? 512 : 1024) / 8;
const settings = {
	...defaultPasses(family, 'lora').difference,
	blocks: [...UNET_BLOCKS],
	rank: Number(args.rank),
	alpha: Number(args.rank),
	convRank: 0,
	batch: 1
};

/** What kind of product a gemm is: the direction of its terms, and what takes part. */
function gemmKind({ terms, bias, rowBias, residual, scale }: GemmOp): string {
	const term = terms
		.map((t) => `${t.aMode.kind}·${t.bMode.kind}${t.b.kind === 'constant' ? '' : t.b.kind === 'parameter' ? ' factor' : ' values'}`)
		.join(' + ');
	const extras = [bias && 'bias', rowBias && 'rowBias', residual && 'residual', scale && scale.factor !== 1 && 'scale'].filter(Boolean).join(' ');
	return `gemm ${term}${extras ? ` (${extras})` : ''}`;
}

const kindOf = (op: Op): string => (op.type === 'gemm' ? gemmKind(op) : op.type);

interface Row {
	ops: number;
	dispatches: number;
	gflop: number;
	megabytes: number;
}

function add(rows: Map<string, Row>, key: string, dispatches: readonly Dispatch[]): void {
	const row = rows.get(key) ?? { ops: 0, dispatches: 0, gflop: 0, megabytes: 0 };
	row.ops++;
	row.dispatches += dispatches.length;
	for (const { flops, bytes } of dispatches) {
		row.gflop += flops / 1e9;
		row.megabytes += bytes / 1e6;
	}
	rows.set(key, row);
}

const before = performance.now();
const plan = { label: 'count', modules: selectModules(unetModules(unet), settings) };
const { graph: whole, gradients } = buildStep(unet, { height: side, width: side, storage: 'f16' }, settings, { frozen: [], trained: plan });
const kinds = new Map<string, Row>();
const families = new Map<string, Row>();
const external = new Set(gradients.values());
const graph = args.budget === undefined ? whole : recompute(whole, { budgetBytes: Number(args.budget) * 2 ** 30, external });
const groups = args.apart ? graph.ops.map((op) => [op] as const) : groupOps(graph.ops, target, external);
for (const ops of groups) {
	const dispatches = lowerGroup(ops, target);
	const kind = `${ops.length > 1 ? `${ops.length} × ` : ''}${kindOf(ops[0])}`;
	add(kinds, kind, dispatches);
	for (const dispatch of dispatches) add(families, dispatch.family, [dispatch]);
	if (args.list && kind.includes(args.list)) for (const { label, workgroups } of dispatches) console.log(label, workgroups.join('×'));
}
const print = (title: string, rows: ReadonlyMap<string, Row>): void => {
	console.log(`\n${title}`);
	for (const [key, row] of [...rows].sort(([, a], [, b]) => b.dispatches - a.dispatches)) {
		const { ops, dispatches, gflop, megabytes } = row;
		console.log(
			`${String(ops).padStart(6)} ops ${String(dispatches).padStart(6)} dispatches ${gflop.toFixed(1).padStart(9)} GFLOP ${megabytes.toFixed(0).padStart(7)} MB  ${key}`
		);
	}
};
console.log(`${family}: ${plan.modules.length} modules, ${graph.ops.length} operations, built in ${((performance.now() - before) / 1000).toFixed(1)} s`);
print('by kind', kinds);
print('by family', families);
const all = [...families.values()].reduce((sum, row) => sum + row.dispatches, 0);
const lowered = groups.flatMap((ops) => lowerGroup(ops, target));
const stored = new Set<Slot>(external);
const planned = (slot: Slot): boolean => ('scratch' in slot || slot.kind === 'intermediate') && !stored.has(slot);
const memory = planMemory(traffic(lowered, planned), slotBytes, { alignment: 256, maxArenaBytes: 2 ** 30, pinned: graph.outputs.filter(planned) });
console.log(`\n${all} dispatches, ${(memory.peakBytes / 2 ** 20).toFixed(1)} MiB of intermediates`);
