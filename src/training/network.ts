/**
 * A network on the GPU: the modules it changes, the store with their factors, and how both enter a graph.
 * Names of parameters are `label:path.down` and `label:path.up`, so several networks (copier, difference, loaded files) live in one graph; the second pair of a LoHa
 * module has the same names with `:2` behind the label.
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
import type { OptimizerSettings } from '../recipe/optimizers';

/** What a graph needs to know of a network; no GPU in it. */
export interface NetworkPlan {
	readonly label: string;
	readonly modules: readonly NetworkModule[];
	/** Factors to begin training with; absent: fresh ones. */
	readonly start?: readonly (NetworkModule & Factors)[] | undefined;
}

export interface Network extends NetworkPlan {
	readonly store: FactorStore;
}

export const downName = (label: string, path: string): string => `${label}:${path}.down`;
export const upName = (label: string, path: string): string => `${label}:${path}.up`;

/** Label of the second pair of LoHa modules. */
const secondLabel = (label: string): string => `${label}:2`;

/** Names of everything that is trained. */
export function parameterNames({ label, modules }: NetworkPlan): string[] {
	return modules.flatMap((m) => labels(label, m).flatMap((name) => [downName(name, m.path), upName(name, m.path)]));
}

const labels = (label: string, module: NetworkModule): string[] => (module.loha ? [label, secondLabel(label)] : [label]);

/** Where the factors of all modules go. */
export function factorEntries({ label, modules }: NetworkPlan): FactorEntry[] {
	return modules.flatMap((m) => {
		const [columns, padded] = [downColumns(m), paddedRank(m.rank)];
		const rate = m.rateFactor === undefined ? {} : { rateFactor: m.rateFactor };
		return labels(label, m).flatMap((name) => [
			{ name: downName(name, m.path), shape: [m.rank, columns], storedShape: [padded, columns], ...rate },
			{ name: upName(name, m.path), shape: [m.outFeatures, m.rank], storedShape: [m.outFeatures, padded], ...rate }
		]);
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
			const pair = (label: string): Pick<Adapter, 'down' | 'up'> => ({
				down: builder.parameter(downName(label, m.path), [padded, downColumns(m)]),
				up: builder.parameter(upName(label, m.path), [m.outFeatures, padded])
			});
			const adapter: Adapter = {
				...pair(plan.label),
				...(m.loha ? { second: pair(secondLabel(plan.label)) } : {}),
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
		const { down, up, second } = factors(m, i);
		await store.write(downName(label, m.path), down);
		await store.write(upName(label, m.path), up);
		if (!second) continue;
		await store.write(downName(secondLabel(label), m.path), second.down);
		await store.write(upName(secondLabel(label), m.path), second.up);
	}
}

/** A fresh network that can be trained. @throws GpuError when its buffers do not fit */
export async function freshNetwork(gpu: Gpu, plan: NetworkPlan, optimizer: OptimizerSettings, seed: number): Promise<Network> {
	const store = await new FactorStore(gpu, factorEntries(plan), { trainable: true, optimizer }).ready();
	const start = new Map(plan.start?.map((m) => [m.path, m]));
	await fill(store, plan.label, plan.modules, (m, i) => start.get(m.path) ?? initialFactors(m, i, seed));
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
	const pair = (of: string, path: string): { down: Float32Array; up: Float32Array } => {
		const [down, up] = [all.get(downName(of, path)), all.get(upName(of, path))];
		if (!down || !up) throw new Error(`The factors of ${path} are missing.`);
		return { down, up };
	};
	return modules.map((m) => ({ ...m, ...pair(label, m.path), ...(m.loha ? { second: pair(secondLabel(label), m.path) } : {}) }));
}
