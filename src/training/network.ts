/**
 * A network on the GPU: the modules it changes, the store with their factors, and how both enter a graph.
 * Names of parameters are `label:path.down` and `label:path.up`, so several networks (copier, difference, loaded files) live in one graph.
 * Ranks are stored rounded up to a multiple of 4 with zeros, which stay zero (see `FactorStore`); scale is alpha / rank with the true rank.
 */
import type { Gpu } from '../gpu/gpu';
import type { Adapter, GraphBuilder } from '../graph/builder';
import type { ScalarRef } from '../graph/ir';
import { FactorStore, paddedRank } from '../kernels/factors';
import type { FactorEntry } from '../kernels/factors';
import { initialFactors } from '../lora/init';
import type { Factors } from '../lora/init';
import { downColumns } from '../lora/modules';
import type { NetworkModule } from '../lora/modules';

/** What a graph needs to know of a network; no GPU in it. */
export interface NetworkPlan {
	readonly label: string;
	readonly modules: readonly NetworkModule[];
}

export interface Network extends NetworkPlan {
	readonly store: FactorStore;
}

export const downName = (label: string, path: string): string => `${label}:${path}.down`;
export const upName = (label: string, path: string): string => `${label}:${path}.up`;

/** Where the factors of all modules go. */
export function factorEntries({ label, modules }: NetworkPlan): FactorEntry[] {
	return modules.flatMap((m) => {
		const [columns, padded] = [downColumns(m), paddedRank(m.rank)];
		return [
			{ name: downName(label, m.path), shape: [m.rank, columns], storedShape: [padded, columns] },
			{ name: upName(label, m.path), shape: [m.outFeatures, m.rank], storedShape: [m.outFeatures, padded] }
		];
	});
}

/**
 * Adapters of several networks for `buildUnet`.
 * @param multipliers one scalar per network, or undefined for a constant 1
 */
export function adaptersOf(builder: GraphBuilder, networks: readonly { plan: NetworkPlan; multiplier: ScalarRef | undefined }[]): (path: string) => Adapter[] {
	const byPath = new Map<string, Adapter[]>();
	for (const { plan, multiplier } of networks) {
		for (const m of plan.modules) {
			const padded = paddedRank(m.rank);
			const adapter: Adapter = {
				down: builder.parameter(downName(plan.label, m.path), [padded, downColumns(m)]),
				up: builder.parameter(upName(plan.label, m.path), [m.outFeatures, padded]),
				scale: { factor: m.alpha / m.rank, ...(multiplier ? { scalar: multiplier } : {}) }
			};
			byPath.set(m.path, [...(byPath.get(m.path) ?? []), adapter]);
		}
	}
	return (path) => byPath.get(path) ?? [];
}

async function fill(
	store: FactorStore,
	label: string,
	modules: readonly NetworkModule[],
	factors: (m: NetworkModule, index: number) => Factors
): Promise<void> {
	for (const [i, m] of modules.entries()) {
		const { down, up } = factors(m, i);
		await store.write(downName(label, m.path), down);
		await store.write(upName(label, m.path), up);
	}
}

/** A fresh network that can be trained. @throws GpuError when its buffers do not fit */
export async function freshNetwork(gpu: Gpu, plan: NetworkPlan, optimizer: 'lion' | 'adamw', seed: number): Promise<Network> {
	const store = await new FactorStore(gpu, factorEntries(plan), { trainable: true, optimizer }).ready();
	await fill(store, plan.label, plan.modules, (m, i) => initialFactors(m, i, seed));
	return { ...plan, store };
}

/** A finished network: from a file, or a copier that is done. @throws GpuError when its buffers do not fit */
export async function frozenNetwork(gpu: Gpu, label: string, modules: readonly (NetworkModule & Factors)[]): Promise<Network> {
	const plan = { label, modules };
	const store = await new FactorStore(gpu, factorEntries(plan), { trainable: false }).ready();
	const byPath = new Map(modules.map((m) => [m.path, m]));
	await fill(store, label, modules, (m) => byPath.get(m.path) as Factors);
	return { ...plan, store };
}

/** The factors as they are now, for saving. */
export async function readNetwork({ label, modules, store }: Network): Promise<(NetworkModule & Factors)[]> {
	const all = await store.readAll();
	return modules.map((m) => {
		const [down, up] = [all.get(downName(label, m.path)), all.get(upName(label, m.path))];
		if (!down || !up) throw new Error(`The factors of ${m.path} are missing.`);
		return { ...m, down, up };
	});
}
