/**
 * Prompts as the graph of `clip-graph.ts` takes them: tokens looked up in the checkpoint's table, positions added. Only the rows that are needed are read.
 */
import type { Checkpoint } from './checkpoint';
import type { TextConfig } from './config';
import { promptChunks, type Chunk } from './prompt';
import { BOS, clipTokenizer, EOS } from './tokenizer';

/** One context's worth of tokens for one encoder. */
export interface TextItem {
	/** `[77, width]` */
	readonly embedded: Float32Array;
	/** Row of the end token. */
	readonly end: number;
}

/** A prompt in chunks of 77 rows, with an item for each encoder. */
export interface PromptText {
	readonly chunks: readonly {
		readonly items: readonly TextItem[];
		/** Of the rows between begin and end; absent: 1. */ readonly weights?: readonly number[];
	}[];
}

const TABLES = {
	hf: { token: 'embeddings.token_embedding.weight', position: 'embeddings.position_embedding.weight' },
	openclip: { token: 'token_embedding.weight', position: 'positional_embedding' }
} as const;

/** Looks rows of tokens up, each once. */
class Table {
	readonly #rows = new Map<number, Promise<Float32Array>>();
	#positions: Promise<Float32Array> | undefined;

	constructor(
		private readonly checkpoint: Checkpoint,
		private readonly index: number
	) {}

	async embed(ids: readonly number[]): Promise<TextItem> {
		const { prefix, width, layout } = this.#config;
		this.#positions ??= this.checkpoint.file.readFloat32(prefix + TABLES[layout].position);
		const embedded = (await this.#positions).slice();
		for (const [row, id] of ids.entries()) (await this.#row(id)).forEach((x, i) => (embedded[row * width + i] = (embedded[row * width + i] ?? 0) + x));
		return { embedded, end: ids.indexOf(EOS) };
	}

	#row(id: number): Promise<Float32Array> {
		const { prefix, width, layout } = this.#config;
		let row = this.#rows.get(id);
		if (!row) this.#rows.set(id, (row = this.checkpoint.file.readPart(prefix + TABLES[layout].token, id * width, width)));
		return row;
	}

	get #config(): TextConfig {
		const config = this.checkpoint.config.text[this.index];
		if (!config) throw new RangeError(`There is no text encoder ${this.index + 1}.`);
		return config;
	}
}

/** What each encoder is given, by its own padding. */
function itemsOf(checkpoint: Checkpoint): (ids: (config: TextConfig) => readonly number[]) => Promise<TextItem[]> {
	const tables = checkpoint.config.text.map((config, index) => ({ config, table: new Table(checkpoint, index) }));
	return (ids) => Promise.all(tables.map(({ config, table }) => table.embed(ids(config))));
}

/** Captions: the text as it is, cut off after 75 tokens. */
export async function embedCaptions(checkpoint: Checkpoint, captions: readonly string[]): Promise<PromptText[]> {
	const tokenizer = await clipTokenizer();
	const items = itemsOf(checkpoint);
	return Promise.all(
		captions.map(async (caption) => ({ chunks: [{ items: await items(({ length, padToken }) => tokenizer.encode(caption, { length, padToken })) }] }))
	);
}

/** Prompts as WebUI reads them: emphasis, BREAK, any length. */
export async function embedPrompts(checkpoint: Checkpoint, prompts: readonly string[]): Promise<PromptText[]> {
	const tokenizer = await clipTokenizer();
	const items = itemsOf(checkpoint);
	const embed = async ({ ids, weights }: Chunk): Promise<PromptText['chunks'][number]> => ({
		items: await items(({ length, padToken }) => [BOS, ...ids, EOS, ...new Array<number>(length - 2 - ids.length).fill(padToken)]),
		weights
	});
	return Promise.all(prompts.map(async (prompt) => ({ chunks: await Promise.all(promptChunks(prompt, tokenizer).map(embed)) })));
}
