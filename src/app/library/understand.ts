/**
 * Other people's metadata as facts: kohya's `ss_*`, Stability's `modelspec.*`, SuperMerger's `sshs_*`, and Utsushi's own. Values come from strangers:
 * nothing is trusted to have a shape, and what does not read is left out (the raw list shows it anyway). Pure. Source: spec §6.9, §7.4–§7.6.
 */
export const FACTS = [
	'title',
	'author',
	'description',
	'usage',
	'license',
	'trigger',
	'baseModel',
	'architecture',
	'network',
	'dimension',
	'alpha',
	'resolution',
	'pictures',
	'steps',
	'epochs',
	'rate',
	'optimizer',
	'schedule',
	'seed',
	'precision',
	'clipSkip',
	'mergedFrom',
	'comment',
	'date',
	'hash'
] as const;
export type FactKey = (typeof FACTS)[number];
export interface Fact {
	key: FactKey;
	value: string;
}

type Metadata = Readonly<Record<string, string>>;

/** The JSON in a value, or undefined. */
function json(text: string | undefined): unknown {
	if (text === undefined) return undefined;
	try {
		return JSON.parse(text) as unknown;
	} catch {
		return undefined;
	}
}

function isRecord(value: unknown): value is Record<string, unknown> {
	return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** kohya writes Python's None for "not set". */
function first(metadata: Metadata, ...keys: string[]): string | undefined {
	return keys.map((key) => metadata[key]?.trim()).find((value) => value !== undefined && value !== '' && value !== 'None' && value !== 'null');
}

/** `ss_tag_frequency` = {folder: {tag: count}}, summed over folders, the most frequent first. */
export function trainedTags(metadata: Metadata): { tag: string; count: number }[] {
	const counts = new Map<string, number>();
	const folders = json(metadata['ss_tag_frequency']);
	for (const tags of isRecord(folders) ? Object.values(folders) : []) {
		for (const [tag, count] of isRecord(tags) ? Object.entries(tags) : []) {
			const name = tag.trim();
			if (name !== '' && typeof count === 'number' && count > 0) counts.set(name, (counts.get(name) ?? 0) + count);
		}
	}
	return [...counts].map(([tag, count]) => ({ tag, count })).sort((a, b) => b.count - a.count);
}

function dateOf(metadata: Metadata): string | undefined {
	const iso = first(metadata, 'modelspec.date');
	if (iso !== undefined) return iso.slice(0, 10);
	const seconds = Number(first(metadata, 'ss_training_finished_at', 'ss_training_started_at'));
	// Some clocks write milliseconds, some nonsense.
	const date = new Date((seconds > 1e11 ? seconds / 1000 : seconds) * 1000);
	return seconds > 0 && !Number.isNaN(date.getTime()) ? date.toISOString().slice(0, 10) : undefined;
}

const KNOWN_BASES: Readonly<Record<string, string>> = {
	sd_v1: 'Stable Diffusion 1.x',
	sd_v2: 'Stable Diffusion 2',
	sd_v2_v: 'Stable Diffusion 2 (v)',
	'sdxl_base_v1-0': 'SDXL 1.0'
};

/** Everything that could be read, in the order people ask for it. */
export function understand(metadata: Metadata): Fact[] {
	const version = first(metadata, 'ss_base_model_version');
	const network = first(metadata, 'ss_network_module');
	const args = json(first(metadata, 'ss_network_args'));
	const convDim = isRecord(args) ? args['conv_dim'] : undefined;
	const convAlpha = isRecord(args) ? args['conv_alpha'] : undefined;
	const withConv = (value: string | undefined, conv: unknown): string | undefined =>
		value !== undefined && (typeof conv === 'string' || typeof conv === 'number') ? `${value} / ${conv}` : value;
	const learned = first(metadata, 'ss_unet_lr', 'ss_learning_rate');
	const merged = parentsIn(metadata);
	const values: Record<FactKey, string | undefined> = {
		title: first(metadata, 'modelspec.title', 'ss_output_name'),
		author: first(metadata, 'modelspec.author'),
		description: first(metadata, 'modelspec.description'),
		usage: first(metadata, 'modelspec.usage_hint'),
		license: first(metadata, 'modelspec.license'),
		trigger: triggerIn(metadata),
		baseModel: first(metadata, 'ss_sd_model_name') ?? (version === undefined ? undefined : (KNOWN_BASES[version] ?? version)),
		architecture: first(metadata, 'modelspec.architecture') ?? (version === undefined ? undefined : (KNOWN_BASES[version] ?? version)),
		network: isRecord(args) && typeof args['algo'] === 'string' ? `${network ?? 'LyCORIS'} (${args['algo']})` : network,
		dimension: withConv(first(metadata, 'ss_network_dim'), convDim),
		alpha: withConv(first(metadata, 'ss_network_alpha'), convAlpha),
		resolution: first(metadata, 'modelspec.resolution', 'ss_resolution'),
		pictures: first(metadata, 'ss_num_train_images'),
		steps: first(metadata, 'ss_steps', 'ss_max_train_steps'),
		epochs: first(metadata, 'ss_epoch', 'ss_num_epochs'),
		rate: learned,
		optimizer: first(metadata, 'ss_optimizer'),
		schedule: first(metadata, 'ss_lr_scheduler'),
		seed: first(metadata, 'ss_seed'),
		precision: first(metadata, 'ss_mixed_precision'),
		clipSkip: first(metadata, 'ss_clip_skip', 'modelspec.encoder_layer'),
		mergedFrom: merged.length > 0 ? merged.map(({ name, ratio }) => `${name} × ${ratio}`).join(', ') : first(metadata, 'modelspec.merged_from'),
		comment: first(metadata, 'ss_training_comment'),
		date: dateOf(metadata),
		hash: first(metadata, 'sshs_model_hash')?.slice(0, 12)
	};
	return FACTS.flatMap((key) => {
		const value = values[key];
		return value === undefined ? [] : [{ key, value }];
	});
}

/** What the file itself names as its trigger. Frequent tags are a guess and are offered, not taken. */
export function triggerIn(metadata: Metadata): string | undefined {
	return first(metadata, 'modelspec.trigger_phrase', 'ut_trigger');
}

export interface NamedParent {
	name: string;
	ratio: number;
	blocks?: Record<string, number>;
	sha256?: string;
}

/** What a merge says it was made from: `ut_parents`, else SuperMerger's `sshs_cp0`, `sshs_cp1`… with their `sshs_ratio`. */
export function parentsIn(metadata: Metadata): NamedParent[] {
	const own = json(metadata['ut_parents']);
	if (Array.isArray(own)) return own.flatMap((item) => (isRecord(item) ? parent(item['name'], item['ratio'], item['sha256'], item['blocks']) : []));
	return Object.keys(metadata)
		.filter((key) => /^sshs_cp\d+$/.test(key))
		.sort((a, b) => Number(a.slice(7)) - Number(b.slice(7)))
		.flatMap((key) => {
			const source = json(metadata[key]);
			return isRecord(source) ? parent(source['ss_output_name'], source['sshs_ratio'], undefined, undefined) : [];
		});
}

function parent(name: unknown, ratio: unknown, sha256: unknown, blocks: unknown): NamedParent[] {
	if (typeof name !== 'string' || name === '') return [];
	const value = Number(ratio ?? 1);
	const found: NamedParent = { name, ratio: Number.isFinite(value) ? value : 1 };
	if (typeof sha256 === 'string' && sha256 !== '') found.sha256 = sha256;
	if (isRecord(blocks)) {
		const numbers = Object.entries(blocks).filter((pair): pair is [string, number] => typeof pair[1] === 'number');
		if (numbers.length > 0) found.blocks = Object.fromEntries(numbers);
	}
	return [found];
}

/** The recipe a file carries, as text that still has to pass the schema. */
export function recipeTextIn(metadata: Metadata): string | undefined {
	return metadata['ut_recipe'] ?? metadata['utsushi.recipe'];
}
