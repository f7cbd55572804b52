/**
 * Which GPUs Dawn sees. It has no call for that; asked for an adapter of a name that none has, it lists them in its refusal. Adapters are chosen by name there, so two cards
 * of one name cannot be told apart and count as one.
 */
import { dawn } from '../gpu/node';

const NOBODY = 'adapter=utsushi asks for the list';
const SOFTWARE = /llvmpipe|lavapipe|swiftshader|basic render|software/i;

/** Names in Dawn's list: ` * backend: 'vulkan', name: 'NVIDIA H100'`. */
export function adapterNames(text: string): string[] {
	return [...new Set([...text.matchAll(/name: '([^'\n]+)'/g)].map(([, name]) => name ?? ''))].filter((name) => name !== '');
}

/** One trainer each; software adapters only where there is nothing else. A name that is part of another would be taken for it. */
export function worthATrainer(names: readonly string[]): string[] {
	const real = names.filter((name) => !SOFTWARE.test(name));
	return real.filter((name) => !real.some((other) => other !== name && other.includes(name)));
}

/** Names of the GPUs that get a trainer of their own; fewer than two: there is nothing to choose. */
export async function listAdapters(): Promise<string[]> {
	try {
		await (await dawn([NOBODY])).requestAdapter();
		return [];
	} catch (error) {
		return worthATrainer(adapterNames(error instanceof Error ? error.message : String(error)));
	}
}
