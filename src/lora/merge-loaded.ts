/**
 * A merge of LoRAs that were brought to a model already (`load.ts`), giving one that can be used at once. What does not depend on ratios is kept with the first of them, so that
 * plots over ratios and dimensions repeat little. The factors stay in the engine's order: a merge does not mind how columns are sorted.
 */
import type { Dimension, MergePart } from '../recipe/merge';
import type { ModelFamily } from '../recipe/recipe';
import type { LoadedLora, LoadedModule } from './load';
import { MergeSession } from './merge';
import type { Stack, StackPart } from './merge-files';
import { downColumns } from './modules';

export interface LoadedPart extends Pick<MergePart, 'ratio' | 'blocks'> {
	readonly lora: LoadedLora;
}

interface Known {
	readonly loras: readonly LoadedLora[];
	readonly session: MergeSession;
}

const sessions = new WeakMap<LoadedLora, Known>();

function stacksOfLoaded(loras: readonly LoadedLora[]): Stack[] {
	const stacks = new Map<string, Omit<Stack, 'parts'> & { parts: StackPart[] }>();
	loras.forEach(({ modules }, lora) => {
		for (const m of modules) {
			const stack = stacks.get(m.path) ?? {
				name: m.path,
				part: 'unet' as const,
				block: m.block,
				rows: m.outFeatures,
				columns: downColumns(m),
				kernel: m.kind === 'conv3' ? [3, 3] : [],
				parts: []
			};
			stacks.set(m.path, stack);
			stack.parts.push({ lora, rank: m.rank, scale: m.alpha / m.rank, load: () => Promise.resolve({ down: m.down, up: m.up }) });
		}
	});
	return [...stacks.values()];
}

function sessionOf(loras: readonly LoadedLora[], family: ModelFamily): MergeSession {
	const [first] = loras;
	const known = first && sessions.get(first);
	if (known && known.loras.length === loras.length && known.loras.every((lora, i) => lora === loras[i])) return known.session;
	const session = new MergeSession([], { family, stacks: stacksOfLoaded(loras) });
	if (first) sessions.set(first, { loras, session });
	return session;
}

/** @throws LoraError `merge.nothing` when all ratios are 0 */
export async function mergeLoaded(parts: readonly LoadedPart[], family: ModelFamily, dimension: Dimension): Promise<LoadedLora> {
	const loras = parts.map(({ lora }) => lora);
	const { modules, warnings } = await sessionOf(loras, family).merge({
		name: '',
		method: 'svd',
		dimension,
		convDimension: null,
		precision: 'f32',
		parts: parts.map(({ ratio, blocks }, i) => ({ name: String(i), ratio, blocks }))
	});
	const shapes = new Map(loras.flatMap((lora) => lora.modules.map((m): [string, LoadedModule] => [m.path, m])));
	const merged = modules.flatMap(({ name, rank, alpha, down, up }): LoadedModule[] => {
		const shape = shapes.get(name);
		if (!shape) return [];
		const { path, kind, inFeatures, outFeatures, block } = shape;
		return [{ path, kind, inFeatures, outFeatures, block, rank, alpha, down, up }];
	});
	return { modules: merged, metadata: {}, warnings };
}
