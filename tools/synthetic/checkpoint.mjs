/**
 * Writes a full-size checkpoint of random weights, as a stream: for proving loaders, memory plans and speed where real weights cannot be had.
 * It has every key and shape of the real thing, but draws noise.
 *
 *     node tools/synthetic/checkpoint.mjs sdxl model.safetensors [--type f16|bf16|f32|fp8] [--seed 1] [--v-prediction]
 */
import { createWriteStream } from 'node:fs';
import { once } from 'node:events';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { checkpointTensors } from './layout.mjs';
import { valueSource } from './values.mjs';

/**
 * The file as a sequence of pieces: header, then tensors in order.
 * @param {import('./layout.mjs').Tensor[]} tensors @param {{ type: string, seed: number, metadata?: Record<string, string> }} options
 */
export function* checkpointPieces(tensors, { type, seed, metadata = {} }) {
	const source = valueSource(type, seed);
	const count = (/** @type {number[]} */ shape) => shape.reduce((product, size) => product * size, 1);
	/** @type {Record<string, unknown>} */
	const header = { __metadata__: { ...metadata, synthetic: `seed ${seed}` } };
	let offset = 0;
	for (const { name, shape } of tensors) {
		const end = offset + count(shape) * source.bytes;
		header[name] = { dtype: source.dtype, shape, data_offsets: [offset, end] };
		offset = end;
	}
	const text = JSON.stringify(header);
	const json = new TextEncoder().encode(text.padEnd(Math.ceil(text.length / 8) * 8));
	const length = new Uint8Array(8);
	new DataView(length.buffer).setBigUint64(0, BigInt(json.length), true);
	yield length;
	yield json;
	for (const { shape, spread, mean } of tensors) yield* source.fill(count(shape), spread, mean);
}

async function main() {
	const { values, positionals } = parseArgs({
		allowPositionals: true,
		options: { type: { type: 'string', default: 'f16' }, seed: { type: 'string', default: '1' }, 'v-prediction': { type: 'boolean', default: false } }
	});
	const [family, path] = positionals;
	if (!family || !path) throw new Error('Say which family and where to: checkpoint.mjs sdxl model.safetensors');
	const tensors = checkpointTensors(/** @type {'sd15' | 'sdxl' | 'tiny'} */ (family));
	if (values['v-prediction']) tensors.push({ name: 'v_pred', shape: [0], spread: 0, mean: 0 });
	const started = performance.now();
	const file = createWriteStream(path, { highWaterMark: 1 << 22 });
	let bytes = 0;
	for (const piece of checkpointPieces(tensors, { type: values.type, seed: Number(values.seed) })) {
		bytes += piece.length;
		if (!file.write(piece)) await once(file, 'drain');
	}
	file.end();
	await once(file, 'finish');
	const seconds = (performance.now() - started) / 1000;
	console.log(`${tensors.length} tensors, ${(bytes / 1e9).toFixed(2)} GB in ${seconds.toFixed(1)} s (${((seconds / bytes) * 1e9).toFixed(1)} s per GB)`);
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) await main();
