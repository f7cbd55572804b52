/**
 * What lies beside a LoRA in other people's folders: A1111's card settings (`NAME.json`), Civitai's record (`NAME.civitai.info`), a preview picture
 * (`NAME.png`, `NAME.preview.png`, …). Pure; nothing is trusted to have a shape.
 */
export interface SideInfo {
	trigger?: string;
	notes?: string;
	tags?: string[];
	strength?: number;
	baseModel?: string;
}

export interface Bundle<T extends { name: string }> {
	lora: T;
	texts: T[];
	pictures: T[];
}

const LORA = /\.safetensors$/i;
const TEXT = /(\.civitai\.info|\.json)$/i;
const PICTURE = /(\.preview)?\.(png|jpe?g|webp)$/i;

/** A shop's page about a LoRA can be long; a note should be readable. */
const NOTES_LIMIT = 4000;

/** Files dropped together, by the LoRA they belong to; `rest` belongs to none. */
export function bundle<T extends { name: string }>(files: readonly T[]): { bundles: Bundle<T>[]; rest: T[] } {
	const bundles = files
		.filter(({ name }) => LORA.test(name))
		.map((lora) => ({ stem: lora.name.replace(LORA, ''), lora, texts: [] as T[], pictures: [] as T[] }));
	const rest: T[] = [];
	for (const file of files) {
		if (LORA.test(file.name)) continue;
		const kind = TEXT.test(file.name) ? TEXT : PICTURE.test(file.name) ? PICTURE : null;
		const home = kind && bundles.find(({ stem }) => stem === file.name.replace(kind, ''));
		if (!home) rest.push(file);
		else if (kind === TEXT) home.texts.push(file);
		else home.pictures.push(file);
	}
	return { bundles: bundles.map(({ lora, texts, pictures }) => ({ lora, texts, pictures })), rest };
}

function isRecord(value: unknown): value is Record<string, unknown> {
	return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function textOf(value: unknown): string | undefined {
	return typeof value === 'string' && value.trim() !== '' ? value.trim() : undefined;
}

function textsOf(value: unknown): string[] {
	return Array.isArray(value) ? value.flatMap((item) => textOf(item) ?? []) : [];
}

/** A page's HTML as plain lines. */
export function plainText(html: string): string {
	return html
		.replace(/<(br|\/p|\/div|\/li|\/h\d)\b[^>]*>/gi, '\n')
		.replace(/<[^>]*>/g, '')
		.replace(/&(nbsp|amp|lt|gt|quot|#39);/g, (_, name: string) => ({ nbsp: ' ', amp: '&', lt: '<', gt: '>', quot: '"', '#39': "'" })[name] ?? '')
		.replace(/[ \t]+\n/g, '\n')
		.replace(/\n{3,}/g, '\n\n')
		.trim()
		.slice(0, NOTES_LIMIT);
}

/** null: this text is no such file (or no JSON at all). */
export function readSideFile(text: string): SideInfo | null {
	let file: unknown;
	try {
		file = JSON.parse(text);
	} catch {
		return null;
	}
	if (!isRecord(file)) return null;
	return 'trainedWords' in file || 'modelId' in file || 'baseModel' in file ? fromCivitai(file) : fromWebUi(file);
}

function fromCivitai(file: Record<string, unknown>): SideInfo {
	const info: SideInfo = {};
	const words = textsOf(file['trainedWords']);
	if (words.length > 0) info.trigger = words.join(', ');
	const base = textOf(file['baseModel']);
	if (base !== undefined) info.baseModel = base;
	const model = isRecord(file['model']) ? file['model'] : {};
	const tags = textsOf(model['tags'] ?? file['tags']);
	if (tags.length > 0) info.tags = tags;
	const about = [textOf(model['name']), textOf(file['description']) ?? textOf(model['description'])].flatMap((part) =>
		part === undefined ? [] : plainText(part)
	);
	if (about.length > 0) info.notes = about.join('\n\n');
	return info;
}

function fromWebUi(file: Record<string, unknown>): SideInfo | null {
	const info: SideInfo = {};
	const words = textOf(file['activation text']);
	if (words !== undefined) info.trigger = words;
	const weight = Number(file['preferred weight'] ?? 0);
	if (Number.isFinite(weight) && weight !== 0) info.strength = weight;
	const base = textOf(file['sd version']);
	if (base !== undefined && base !== 'Unknown') info.baseModel = base;
	const about = [textOf(file['description']), textOf(file['notes'])].filter((part) => part !== undefined);
	const negative = textOf(file['negative text']);
	if (negative !== undefined) about.push(`negative: ${negative}`);
	if (about.length > 0) info.notes = about.join('\n\n').slice(0, NOTES_LIMIT);
	return Object.keys(info).length > 0 ? info : null;
}

/** Later files fill what earlier ones left open; tags add up. */
export function mergeInfo(infos: readonly SideInfo[]): SideInfo {
	const all: SideInfo = {};
	for (const info of infos) {
		const tags = [...new Set([...(all.tags ?? []), ...(info.tags ?? [])])];
		Object.assign(all, { ...info, ...all });
		if (tags.length > 0) all.tags = tags;
	}
	return all;
}
