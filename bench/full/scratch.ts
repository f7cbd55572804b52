import { SD15_UNET, SDXL_UNET } from '../../src/diffusion/config';
import { unetModules } from '../../src/diffusion/unet-layout';
import { planMemory } from '../../src/graph/plan';
import { liveBytes, planGraph } from '../../src/graph/plan-graph';
import { recompute } from '../../src/graph/recompute';
import { lower } from '../../src/kernels/lower';
import type { Slot, Target } from '../../src/kernels/dispatch';
import { slotBytes, traffic } from '../../src/kernels/residency';
import { flopsOf } from '../../src/graph/cost';
import { UNET_BLOCKS, defaultPasses } from '../../src/recipe/defaults';
import { selectModules } from '../../src/lora/modules';
import { buildStep } from '../../src/training/step';
const target: Target = {
	f16: true,
	subgroups: true,
	subgroupSize: 32,
	subgroupMatrix: true,
	maxWorkgroupInvocations: 1024,
	maxWorkgroupStorage: 49152,
	maxWorkgroupsPerDimension: 65535,
	maxStorageBuffers: 16,
	software: false
};
const [name = 'sdxl', size = '1024', budgets = 'none', rank = '16', batch = '1'] = process.argv.slice(2);
const unet = name === 'sdxl' ? SDXL_UNET : SD15_UNET;
const settings = {
	...defaultPasses(name === 'sdxl' ? 'sdxl' : 'sd15', 'lora').difference,
	blocks: [...UNET_BLOCKS],
	rank: Number(rank),
	alpha: 16,
	convRank: 0,
	convAlpha: 0,
	batch: Number(batch)
};
const plan = { label: 'bench', modules: selectModules(unetModules(unet), settings) };
let t = performance.now();
const lap = (what: string, more: object = {}) => {
	const now = performance.now();
	console.log(what, ((now - t) / 1000).toFixed(2), 's', JSON.stringify(more));
	t = performance.now();
};
const side = Number(size) / 8;
const step = buildStep(unet, { height: side, width: side, storage: 'f16' }, settings, { frozen: [], trained: plan });
lap('build', { ops: step.graph.ops.length });
const external = new Set(step.gradients.values());
const gib = (x: number) => Number((x / 2 ** 30).toFixed(3));
lap('live', { gib: gib(liveBytes(step.graph, external)) });
lap('planGraph', { gib: gib(planGraph(step.graph, external).peakBytes) });
const work = (g: typeof step.graph) => g.ops.reduce((s, op) => s + flopsOf(op), 0) / 1e12;
for (const b of budgets.split(',')) {
	const graph = b === 'none' ? step.graph : recompute(step.graph, { budgetBytes: Number(b) * 2 ** 30, external });
	lap(`recompute ${b}`, { ops: graph.ops.length, live: gib(liveBytes(graph, external)), tflop: work(graph), ratio: work(graph) / work(step.graph) });
	const steps = graph.ops.flatMap((op) => lower(op, target));
	lap('lower', { dispatches: steps.length });
	const planned = (slot: Slot): boolean => ('scratch' in slot || slot.kind === 'intermediate') && !external.has(slot as never);
	const p = planMemory(traffic(steps, planned), slotBytes, { alignment: 256, maxArenaBytes: 1 << 30, pinned: [...graph.outputs, step.loss].filter(planned) });
	lap('plan', { gib: gib(p.peakBytes), bound: gib(p.lowerBound), arenas: p.arenas.length });
}
process.exit(0);
