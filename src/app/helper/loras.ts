/** A LoRA of the helper's folders on its way to this browser: as a download, or into the library like a file that was dropped there. */
import type { NamedModel } from '../../service/helper-protocol';
import { download } from '../download';
import { importFiles, type Outcome } from '../library/import';
import { trainer } from '../train/trainer.svelte';

async function fetchLora({ id, name }: NamedModel): Promise<{ name: string; bytes: ArrayBuffer }> {
	const { bytes } = await trainer.at.helper.request({ type: 'fetchLora', id });
	return { name: `${name.slice(name.lastIndexOf('/') + 1)}.safetensors`, bytes };
}

/** Errors: ServiceError */
export async function downloadLora(entry: NamedModel): Promise<void> {
	const { name, bytes } = await fetchLora(entry);
	download(name, bytes);
}

/** `known`: the same bytes were in the library already. Throws the problem of a file that cannot be kept. */
export async function takeLora(entry: NamedModel): Promise<'added' | 'known'> {
	const { name, bytes } = await fetchLora(entry);
	const outcomes: Outcome[] = [];
	await importFiles([new File([bytes], name)], (outcome) => outcomes.push(outcome));
	const [outcome] = outcomes;
	if (outcome?.kind === 'added' || outcome?.kind === 'known') return outcome.kind;
	const problem = outcome?.kind === 'failed' ? outcome.problem : undefined;
	throw Object.assign(new Error(problem?.message ?? `“${name}” is not a LoRA.`), problem ? { problem } : {});
}
