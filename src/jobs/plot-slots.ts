/**
 * Networks that can be exchanged without compiling anything: a program has a few slots, each shaped so that every LoRA of the plot fits,
 * and what a slot holds is only data.
 *
 * Rules
 * - A slot has every module that any LoRA has, with the largest rank there; smaller LoRAs are filled up with zeros, which change nothing.
 * - alpha / rank and the weight of the module's block go into `up` when a LoRA is loaded, so block presets need no program of their own.
 *   What is left, strength · ratio, is the program's scalar.
 * - A module that a LoRA lacks keeps whatever `down` it had; its `up` is zero.
 */
import type { Gpu } from '../gpu/gpu';
import { FactorStore, paddedRank } from '../kernels/factors';
import { downColumns, type NetworkModule } from '../lora/modules';
import type { LoadedModule } from '../lora/load';
import type { BlockWeights } from '../recipe/plot';
import { downName, factorEntries, upName, type Network } from '../training/network';

/** Path → what the module must hold at least. */
export type SlotShape = ReadonlyMap<string, NetworkModule>;

/** The shape in which all of these fit. @param extraRank lower bound on every rank, for merges whose rank is not known yet */
export function slotShape(loras: readonly (readonly NetworkModule[])[], extraRank: (path: string) => number): SlotShape {
	const shape = new Map<string, NetworkModule>();
	for (const modules of loras) {
		for (const { path, kind, inFeatures, outFeatures, block, rank } of modules) {
			const most = Math.max(rank, shape.get(path)?.rank ?? 0, extraRank(path));
			shape.set(path, { path, kind, inFeatures, outFeatures, block, rank: paddedRank(most), alpha: paddedRank(most) });
		}
	}
	return shape;
}

/** Whether what fits `wanted` fits `present` too. */
export function covers(present: SlotShape, wanted: SlotShape): boolean {
	for (const [path, { rank }] of wanted) if ((present.get(path)?.rank ?? 0) < rank) return false;
	return true;
}

export interface SlotContent {
	/** Says which factors these are; equal ids hold equal factors. */
	readonly id: string;
	readonly modules: readonly LoadedModule[];
	readonly blocks: BlockWeights | null;
}

export class Slot {
	readonly network: Network;
	/** What the GPU holds: id of the factors, and the weights of the blocks as text. */
	#held: { id: string; blocks: string } | null = null;

	private constructor(
		readonly shape: SlotShape,
		network: Network
	) {
		this.network = network;
	}

	/** @throws GpuError when it does not fit */
	static async create(gpu: Gpu, label: string, shape: SlotShape): Promise<Slot> {
		const plan = { label, modules: [...shape.values()] };
		return new Slot(shape, { ...plan, store: await new FactorStore(gpu, factorEntries(plan), { trainable: false }).ready() });
	}

	/** Uploads only what differs from what is there. */
	async hold({ id, modules, blocks }: SlotContent): Promise<void> {
		const weights = JSON.stringify(blocks);
		const held = this.#held;
		if (held?.id === id && held.blocks === weights) return;
		this.#held = null; // half written is nothing
		const { store, label } = this.network;
		const byPath = new Map(modules.map((m) => [m.path, m]));
		for (const slot of this.shape.values()) {
			const m = byPath.get(slot.path);
			const up = new Float32Array(slot.outFeatures * slot.rank);
			if (m) {
				if (held?.id !== id) {
					const down = new Float32Array(slot.rank * downColumns(slot));
					down.set(m.down);
					await store.write(downName(label, slot.path), down);
				}
				const scale = (m.alpha / m.rank) * (blocks === null ? 1 : (blocks[m.block] ?? 0));
				for (let row = 0; row < slot.outFeatures; row++) for (let r = 0; r < m.rank; r++) up[row * slot.rank + r] = scale * (m.up[row * m.rank + r] ?? 0);
			}
			await store.write(upName(label, slot.path), up);
		}
		this.#held = { id, blocks: weights };
	}

	destroy(): void {
		this.network.store.destroy();
	}
}
