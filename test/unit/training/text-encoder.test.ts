/** The text encoders as graphs, with LoRAs in them, against transformers (float64): contexts, the pooled vector, every factor's gradient; prompts looked up as ONNX Runtime's encoder reads them. */
import { beforeAll, describe, expect, it } from 'vitest';
import { openCheckpoint, type Checkpoint } from '../../../src/diffusion/checkpoint';
import { buildText, pickRows, textConstants, textModules, textValues, loadTextWeights } from '../../../src/diffusion/clip-graph';
import { nvNormal } from '../../../src/diffusion/noise';
import { openTextEncoder } from '../../../src/diffusion/text';
import { embedCaptions, embedPrompts, type PromptText } from '../../../src/diffusion/text-input';
import { emphasise } from '../../../src/diffusion/emphasis';
import { crc32 } from '../../../src/formats/crc32';
import { fileSource } from '../../../src/formats/node';
import { openSafetensors, type SafetensorsFile } from '../../../src/formats/safetensors';
import { GraphBuilder } from '../../../src/graph/builder';
import { differentiate } from '../../../src/graph/differentiate';
import { fuse } from '../../../src/graph/fuse';
import { interpret } from '../../../src/graph/interpret';
import { selectTextModules, type NetworkModule } from '../../../src/lora/modules';
import { UniformStream } from '../../../src/lora/random';
import { adaptersOf, downName, upName } from '../../../src/training/network';
import { relativeError } from '../diffusion/golden';
import { GIRL, tinySdxl, WEIGHTED } from '../diffusion/tiny-sdxl';

let expected: SafetensorsFile;
const models = new Map<string, Checkpoint>();
beforeAll(async () => {
	expected = await openSafetensors(await fileSource('test/fixtures/training/text-encoder.safetensors'));
	models.set('mini', await openCheckpoint(await fileSource('public/models/mini.safetensors')));
	models.set('sdxl', await tinySdxl());
});

const checkpointOf = (name: string): Checkpoint => models.get(name) as Checkpoint;

/** As `tools/fixtures/text_lora.py` draws them. */
function factorsOf({ path, inFeatures, outFeatures, rank }: NetworkModule): { down: Float32Array; up: Float32Array } {
	const draw = (which: number, count: number, bound: number) =>
		Float32Array.from(new UniformStream(44, [crc32(new TextEncoder().encode(path)), which]).take(0, count), (u) => (2 * u - 1) * bound);
	return { down: draw(1, rank * inFeatures, 1 / Math.sqrt(inFeatures)), up: draw(2, outFeatures * rank, 0.2) };
}

/** Runs the encoders in float64 on chunks; gradients are those of the squared error against noise. */
async function run(
	checkpoint: Checkpoint,
	chunks: readonly PromptText['chunks'][number][],
	options: { lora: boolean; of?: 'context' | 'pooled'; draw?: number; wanted?: readonly string[] }
) {
	const configs = checkpoint.config.text;
	const modules = selectTextModules(textModules(configs), { rank: 4, alpha: 2, convRank: 0, convAlpha: 0, blocks: ['BASE'] });
	const builder = new GraphBuilder({ storage: 'f32' });
	const values = textValues(builder, configs, chunks.length);
	const { context, pooled } = buildText(
		builder,
		configs,
		values,
		adaptersOf(builder, [{ plan: { label: 'x', modules: options.lora ? modules : [] }, multiplier: undefined }])
	);
	const feeds = new Map<string, ArrayLike<number>>();
	await loadTextWeights(checkpoint, {
		storage: 'f32',
		get: () => undefined,
		add: (name, _, data) => void feeds.set(name, data)
	});
	for (const m of modules) feeds.set(downName('x', m.path), factorsOf(m).down).set(upName('x', m.path), factorsOf(m).up);
	values.forEach(({ embedded, pick }, index) => {
		const items = chunks.map((chunk) => chunk.items[index]!);
		feeds.set(embedded.name, Float32Array.from(items.flatMap((item) => Array.from(item.embedded))));
		if (!pick) return;
		const rows = pickRows(
			configs[index]!,
			items.map(({ end }) => end)
		);
		feeds.set(pick.query.name, rows.query).set(pick.key.name, rows.key);
	});
	const judged = options.of === 'pooled' ? pooled! : context;
	const target = builder.input('target', judged.shape);
	const loss = builder.loss('mse', judged, target, builder.input('weight', [chunks.length]));
	feeds
		.set(
			'target',
			nvNormal(
				8,
				options.draw ?? 1,
				judged.shape.reduce((a, b) => a * b, 1)
			)
		)
		.set('weight', new Float32Array(chunks.length).fill(1));
	const forward = builder.finish([loss, context, ...(pooled ? [pooled] : [])]);
	if (!options.lora) {
		const contents = interpret(forward, feeds);
		return { context: contents.get(context)!, pooled: pooled && contents.get(pooled)!, gradients: new Map<string, Float64Array>() };
	}
	const wrt = forward.values.filter((value) => value.kind === 'parameter' && (options.wanted ?? []).includes(value.name.slice(2)));
	const { graph, gradients } = differentiate(forward, { loss, lossScale: { factor: 1 }, wrt });
	const contents = interpret(fuse(graph), feeds);
	return {
		context: contents.get(context)!,
		pooled: pooled && contents.get(pooled)!,
		gradients: new Map([...gradients].map(([parameter, gradient]) => [parameter.name.slice(2), contents.get(gradient)!]))
	};
}

const chunkOf = ({ chunks }: PromptText) => chunks[0]!;

describe('text encoders with LoRAs', () => {
	it.each([
		['mini', 'context', 1, 'mini.', 'mini.'],
		['sdxl', 'context', 2, 'sdxl.', 'sdxl.context.'],
		['sdxl', 'pooled', 3, 'sdxl.', 'sdxl.pooled.']
	] as const)('%s, error of the %s: as transformers', async (model, of, draw, values, prefix) => {
		const checkpoint = checkpointOf(model);
		const captions = await embedCaptions(checkpoint, [GIRL, 'a girl']);
		// What PyTorch has a gradient for: the last layer of the second encoder reaches the pooled vector alone.
		const wanted = [...expected.tensors.keys()].filter((name) => name.startsWith(`${prefix}te`)).map((name) => name.slice(prefix.length));
		const { context, pooled, gradients } = await run(checkpoint, captions.map(chunkOf), { lora: true, of, draw, wanted });
		expect(relativeError(context, await expected.readFloat32(`${values}context`))).toBeLessThan(1e-6);
		if (pooled) expect(relativeError(pooled, await expected.readFloat32('sdxl.pooled'))).toBeLessThan(1e-6);
		expect(gradients.size).toBe(wanted.length);
		expect(wanted.length).toBeGreaterThan(20);
		for (const [name, gradient] of gradients) expect(relativeError(gradient, await expected.readFloat32(prefix + name)), name).toBeLessThan(1e-5);
	});

	it.each(['mini', 'sdxl'])('%s: prompts and captions as the frozen encoder reads them', async (model) => {
		const checkpoint = checkpointOf(model);
		const frozen = openTextEncoder(checkpoint);
		const [girl] = await embedCaptions(checkpoint, [GIRL]);
		const alone = await run(checkpoint, [chunkOf(girl!)], { lora: false });
		const { context, pooled } = await frozen.condition([GIRL]);
		expect(relativeError(alone.context, context)).toBeLessThan(1e-5);
		if (alone.pooled) expect(relativeError(alone.pooled, pooled)).toBeLessThan(1e-5);
		const [prompt] = await embedPrompts(checkpoint, [WEIGHTED]);
		const [weighted] = await frozen.weighted([WEIGHTED]);
		const size = weighted!.context.length / 2;
		for (const [i, chunk] of prompt!.chunks.entries()) {
			const rows = Float32Array.from((await run(checkpoint, [chunk], { lora: false })).context);
			emphasise(
				rows,
				chunk.weights!,
				checkpoint.config.text.map(({ width }) => width)
			);
			expect(relativeError(rows, weighted!.context.subarray(i * size, (i + 1) * size))).toBeLessThan(1e-5);
		}
		await frozen.close();
	});

	it('have every module kohya trains, but those that nothing reads', () => {
		expect(textModules(checkpointOf('mini').config.text)).toHaveLength(24);
		const { text } = checkpointOf('sdxl').config;
		const [first, second] = text.map(({ layers }) => layers);
		expect(textModules(text)).toHaveLength(6 * (first! - 1 + second!));
		expect(textModules(text, true)).toHaveLength(6 * (first! + second!));
		expect(new Set(textConstants(text).map(({ name }) => name)).size).toBe(textConstants(text).length);
	});

	it('are left out where only one kind of attention is trained', () => {
		const modules = textModules(checkpointOf('mini').config.text);
		const settings = { rank: 4, alpha: 4, convRank: 0, convAlpha: 0 };
		expect(selectTextModules(modules, { ...settings, blocks: ['BASE'], attention: 'cross' })).toEqual([]);
		expect(selectTextModules(modules, { ...settings, blocks: ['OUT03'] })).toEqual([]);
		expect(selectTextModules(modules, { ...settings, blocks: ['BASE'], attention: 'cross', network: 'loha' })).toHaveLength(24);
	});
});
