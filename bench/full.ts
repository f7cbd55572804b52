/**
 * A training step and a forward pass of a full-size UNet on this GPU: one JSON line for each case.
 *
 *   npx vite build --ssr bench/full.ts --outDir dist/bench
 *   node dist/bench/full.js (--model FILE | --random sd15|sdxl|tiny-sdxl) [--size 512] [--rank 16] [--conv 0] [--batch 1] [--storage f16|f32] [--base f16|int8]
 *                           [--cases SIZE:RANK:BATCH,…] [--budget GiB] [--steps 10] [--profile] [--forward only|no] [--checked] [--plain] [--blank] [--label TEXT]
 *
 * --cases 512:16:1,1024:16:2 measures just these sizes, ranks and batches, without a budget. --size (pixels), --rank, --conv, --batch and --budget take lists (`512,768`); every combination is measured, and a case that fails is a line with `error`. --budget is what intermediates may
 * take; `none` recomputes nothing. --plain does without subgroup matrices, as browsers do. --profile adds times by kernel and by shape. --random needs no file: weights are normal numbers of fan-in scale; with --blank they are left out, which is for planning and recording alone. Times are of this machine alone.
 */
import { parseArgs } from 'node:util';
import { line, openBed } from './full/bed';
import type { Case } from './full/case';
import { measureForward } from './full/forward';
import { measureStep } from './full/step';

const { values: args } = parseArgs({
	options: {
		model: { type: 'string' },
		random: { type: 'string' },
		size: { type: 'string' },
		rank: { type: 'string', default: '16' },
		conv: { type: 'string', default: '0' },
		batch: { type: 'string', default: '1' },
		storage: { type: 'string', default: 'f16' },
		base: { type: 'string', default: 'f16' },
		budget: { type: 'string', default: 'none' },
		steps: { type: 'string', default: '10' },
		profile: { type: 'boolean', default: false },
		forward: { type: 'string', default: 'yes' },
		checked: { type: 'boolean', default: false },
		plain: { type: 'boolean', default: false },
		blank: { type: 'boolean', default: false },
		cases: { type: 'string' },
		label: { type: 'string', default: '' }
	}
});

const list = (text: string): number[] => text.split(',').map((part) => (part === 'none' ? NaN : Number(part)));

const bed = await openBed({
	model: args.model,
	random: args.random,
	storage: args.storage === 'f32' ? 'f32' : 'f16',
	base: args.base === 'int8' ? 'int8' : 'f16',
	checked: args.checked,
	plain: args.plain,
	blank: args.blank
});
const { adapter } = bed.gpu;
line({
	label: args.label,
	adapter: adapter.description || adapter.device,
	f16: bed.gpu.f16,
	subgroupMatrix: bed.gpu.subgroupMatrix,
	family: bed.family,
	secondsWeights: bed.secondsWeights,
	weightBytes: bed.weights.bytes
});

const sizes = list(args.size ?? (bed.family === 'sdxl' ? '1024' : bed.family === 'sd15' ? '512' : '128'));
const common = { convRank: Number(list(args.conv)[0]), steps: Number(args.steps), profile: args.profile };
const named = args.cases?.split(',').map((text): Case => {
	const [size = 512, rank = 16, batch = 1] = text.split(':').map(Number);
	return { ...common, size, rank, batch, budgetBytes: undefined };
});
const product = sizes.flatMap((size) =>
	list(args.batch).flatMap((batch) =>
		list(args.rank).flatMap((rank) =>
			list(args.conv).flatMap((convRank) =>
				list(args.budget).map((gib): Case => {
					const budgetBytes = Number.isNaN(gib) ? undefined : gib * 2 ** 30;
					return { ...common, size, batch, rank, convRank, budgetBytes };
				})
			)
		)
	)
);

const cases = named ?? product;

async function guarded(what: object, measure: () => Promise<object>): Promise<void> {
	try {
		line({ ...what, ...(await measure()) });
	} catch (cause) {
		line({ ...what, error: cause instanceof Error ? cause.message : String(cause) });
		bed.gpu.check();
	}
}

for (const given of cases) {
	const { size, batch, rank, convRank, budgetBytes } = given;
	const what = { label: args.label, family: bed.family, size, batch, rank, convRank, base: args.base, storage: bed.weights.storage };
	if (args.forward !== 'only') await guarded({ kind: 'step', ...what, budget: budgetBytes ?? null }, () => measureStep(bed, given));
}
if (args.forward !== 'no') {
	for (const given of cases.filter(
		({ rank, convRank, budgetBytes }) => rank === cases[0]?.rank && convRank === cases[0].convRank && budgetBytes === cases[0].budgetBytes
	)) {
		await guarded({ kind: 'forward', label: args.label, family: bed.family, size: given.size, storage: bed.weights.storage }, () => measureForward(bed, given));
	}
}
// Dawn keeps the process alive while its instance exists.
process.exit(0);
