/** The pure parts of the library: grouping, search, what differs, other people's metadata, lineage, names, releases. */
import { unzipSync } from 'fflate';
import { encode } from 'fast-png';
import { describe, expect, test } from 'vitest';
import { description } from '../../../src/app/library/description';
import { differences } from '../../../src/app/library/differences';
import { groupByRun } from '../../../src/app/library/groups';
import { ancestors, descendants, stem } from '../../../src/app/library/lineage';
import { freeName, nameProblem } from '../../../src/app/library/names';
import { release } from '../../../src/app/library/release';
import { EVERYTHING, parseTags, search, tagsOf } from '../../../src/app/library/search';
import { bundle, mergeInfo, readSideFile } from '../../../src/app/library/side-files';
import { parentsIn, trainedTags, understand } from '../../../src/app/library/understand';
import { readPngText } from '../../../src/formats/png-text';
import { readParameters } from '../../../src/formats/webui';
import { defaultRecipe } from '../../../src/recipe/defaults';
import { complete, type LibraryEntry } from '../../../src/storage/library-entry';

type Given = Partial<LibraryEntry> & { id: string };

function entry(given: Given): LibraryEntry {
	return complete({
		name: `${given.id}.safetensors`,
		run: '',
		role: 'result',
		step: 0,
		created: 0,
		bytes: 1,
		family: 'mini',
		recipe: null,
		metadata: {},
		previews: [],
		kept: 'opfs',
		...given
	});
}

const ids = (entries: readonly LibraryEntry[]): string[] => entries.map(({ id }) => id);

describe('the library by run', () => {
	const file = (id: string, run: string, role: LibraryEntry['role'], step: number) => entry({ id, run, role, step });

	test('each run stands for its result; what came on the way follows, latest first', () => {
		const groups = groupByRun([
			file('b-result', 'b', 'result', 150),
			file('b-100', 'b', 'intermediate', 100),
			file('a-result', 'a', 'result', 10),
			file('b-copier', 'b', 'copier', 300),
			file('b-50', 'b', 'intermediate', 50)
		]);
		expect(groups.map(({ main, others }) => [main.id, ids(others)])).toEqual([
			['b-result', ['b-copier', 'b-100', 'b-50']],
			['a-result', []]
		]);
	});

	test('a run that was cut off stands for its newest file; files without a run stand alone', () => {
		const groups = groupByRun([
			file('c-20', 'c', 'intermediate', 20),
			file('c-10', 'c', 'intermediate', 10),
			file('x', '', 'result', 0),
			file('y', '', 'merged', 0)
		]);
		expect(groups.map(({ main }) => main.id)).toEqual(['c-20', 'x', 'y']);
		expect(groupByRun([])).toEqual([]);
	});
});

describe('entries of earlier versions', () => {
	test('are completed, and lose nothing', () => {
		const { sha256, parents, tags, notes, trigger, strength, baseModel, cover, ...old } = entry({ id: 'old', metadata: { a: 'b' }, step: 7 });
		expect(complete(old)).toEqual({ ...old, sha256, parents, tags, notes, trigger, strength, baseModel, cover });
	});
});

describe('search', () => {
	const entries = [
		entry({ id: 'mouth-a', created: 3, bytes: 5, tags: ['口', 'try 2'], metadata: { ss_optimizer: 'Lion' } }),
		entry({ id: 'mouth-o', created: 1, bytes: 9, notes: 'α を小さく。広がる', family: 'sdxl', role: 'imported' }),
		entry({ id: 'hair', created: 2, bytes: 7, trigger: 'ｂｌｕｅ hair', tags: ['口'], parents: [{ name: 'old mouth', ratio: 1 }] })
	];
	const found = (text: string) => ids(search(entries, { ...EVERYTHING, text }));

	test('every word must occur, in whatever field and width', () => {
		expect(found('')).toEqual(['mouth-a', 'hair', 'mouth-o']);
		expect(found('MOUTH')).toEqual(['mouth-a', 'hair', 'mouth-o']);
		expect(found('mouth lion')).toEqual(['mouth-a']);
		expect(found('blue')).toEqual(['hair']);
		expect(found('ss_optimizer')).toEqual(['mouth-a']);
		expect(found('広がる')).toEqual(['mouth-o']);
		expect(found('"old mouth"')).toEqual(['hair']);
		expect(found('"mouth old"')).toEqual([]);
	});

	test('tags, families, kinds, orders', () => {
		expect(found('tag:口')).toEqual(['mouth-a', 'hair']);
		expect(found('tag:"try 2"')).toEqual(['mouth-a']);
		expect(found('tag:mouth')).toEqual([]);
		expect(ids(search(entries, { ...EVERYTHING, family: 'sdxl' }))).toEqual(['mouth-o']);
		expect(ids(search(entries, { ...EVERYTHING, kind: 'imported' }))).toEqual(['mouth-o']);
		expect(ids(search(entries, { ...EVERYTHING, sort: 'largest' }))).toEqual(['mouth-o', 'hair', 'mouth-a']);
		expect(ids(search(entries, { ...EVERYTHING, sort: 'name' }))).toEqual(['hair', 'mouth-a', 'mouth-o']);
		expect(tagsOf(entries)).toEqual(['口', 'try 2']);
		expect(parseTags(' mouth, 口、 try 2 ，mouth,,')).toEqual(['mouth', '口', 'try 2']);
	});
});

describe('what differs between recipes', () => {
	test('only what is not the same, with the path', () => {
		const a = defaultRecipe('mini');
		const b = structuredClone(a);
		b.name = 'another';
		b.passes.difference.alpha = a.passes.difference.alpha / 4;
		b.passes.difference.learningRate = 5e-5;
		const rows = differences([a, b, a]);
		expect(rows.map(({ path }) => path).sort()).toEqual(['passes.difference.alpha', 'passes.difference.learningRate']);
		expect(rows.find(({ path }) => path.endsWith('learningRate'))?.values[1]).toBe('5e-5');
		expect(differences([a, structuredClone(a)])).toEqual([]);
	});

	test('settings that one of them does not have', () => {
		const a = defaultRecipe('mini');
		const bare: Partial<typeof a> = structuredClone(a);
		delete bare.storage;
		expect(differences([a, bare as typeof a])).toEqual([{ path: 'storage', values: [a.storage, null] }]);
	});
});

describe('other people’s metadata', () => {
	const kohya = {
		ss_network_module: 'networks.lora',
		ss_network_dim: '32',
		ss_network_alpha: '16.0',
		ss_network_args: '{"conv_dim": "8", "conv_alpha": "4"}',
		ss_base_model_version: 'sdxl_base_v1-0',
		ss_sd_model_name: 'animagine.safetensors',
		ss_tag_frequency: '{"10_girl": {"girl": 30, " smile ": 4}, "img": {"girl": 2, "bad": "x"}}',
		ss_clip_skip: 'None',
		ss_training_finished_at: '1700000000.5',
		'modelspec.title': 'Smile',
		sshs_model_hash: 'abcdef0123456789'
	};

	test('kohya’s', () => {
		const facts = new Map(understand(kohya).map(({ key, value }) => [key, value]));
		expect(facts.get('title')).toBe('Smile');
		expect(facts.get('dimension')).toBe('32 / 8');
		expect(facts.get('alpha')).toBe('16.0 / 4');
		expect(facts.get('baseModel')).toBe('animagine.safetensors');
		expect(facts.get('architecture')).toBe('SDXL 1.0');
		expect(facts.get('date')).toBe('2023-11-14');
		expect(facts.get('hash')).toBe('abcdef012345');
		expect(facts.has('clipSkip')).toBe(false);
		expect(trainedTags(kohya)).toEqual([
			{ tag: 'girl', count: 32 },
			{ tag: 'smile', count: 4 }
		]);
	});

	test('SuperMerger’s parents, ours, and nonsense', () => {
		expect(parentsIn({ sshs_cp1: '{"ss_output_name":"b","sshs_ratio":"-0.5"}', sshs_cp0: '{"ss_output_name":"a","sshs_ratio":0.6}' })).toEqual([
			{ name: 'a', ratio: 0.6 },
			{ name: 'b', ratio: -0.5 }
		]);
		expect(parentsIn({ ut_parents: '[{"name":"x","ratio":0.3,"sha256":"ff","blocks":{"IN01":0.5}},{"ratio":1},7]' })).toEqual([
			{ name: 'x', ratio: 0.3, sha256: 'ff', blocks: { IN01: 0.5 } }
		]);
		expect(parentsIn({ ut_parents: '{', sshs_cp0: '[]' })).toEqual([]);
		expect(understand({ ss_network_args: '3', ss_tag_frequency: 'x', ss_training_finished_at: 'soon' })).toEqual([]);
		expect(trainedTags({ ss_tag_frequency: '{"a": 5}' })).toEqual([]);
	});

	test('files beside a LoRA', () => {
		const named = (name: string) => ({ name });
		const { bundles, rest } = bundle(['a.safetensors', 'a.json', 'a.civitai.info', 'a.preview.png', 'b.png', 'c.txt'].map(named));
		expect(bundles).toEqual([{ lora: named('a.safetensors'), texts: ['a.json', 'a.civitai.info'].map(named), pictures: [named('a.preview.png')] }]);
		expect(rest).toEqual([named('b.png'), named('c.txt')]);
		const webui = readSideFile('{"description":"d","sd version":"SDXL","activation text":"t1","preferred weight":0.7,"notes":"n"}');
		expect(webui).toEqual({ trigger: 't1', strength: 0.7, baseModel: 'SDXL', notes: 'd\n\nn' });
		const civitai = readSideFile(
			'{"baseModel":"Illustrious","trainedWords":["w1","w2"],"model":{"name":"N","tags":["x"]},"description":"<p>one<br>two &amp; three</p>"}'
		);
		expect(civitai).toEqual({ trigger: 'w1, w2', baseModel: 'Illustrious', tags: ['x'], notes: 'N\n\none\ntwo & three' });
		expect(mergeInfo([webui ?? {}, civitai ?? {}])).toMatchObject({ trigger: 't1', strength: 0.7, tags: ['x'] });
		expect(readSideFile('not json')).toBeNull();
		expect(readSideFile('[1]')).toBeNull();
		expect(readSideFile('{"something":"else"}')).toBeNull();
	});
});

describe('lineage', () => {
	const a = entry({ id: 'a', sha256: 'aa' });
	const renamed = entry({ id: 'b', name: 'renamed.safetensors', sha256: 'bb' });
	const merge = entry({
		id: 'm',
		parents: [
			{ name: 'a', ratio: 0.6, id: 'a', sha256: 'aa' },
			{ name: 'b', ratio: 0.4, id: 'elsewhere', sha256: 'bb' },
			{ name: 'gone', ratio: 1, sha256: 'cc' }
		]
	});
	const foreign = entry({ id: 'f', metadata: { sshs_cp0: '{"ss_output_name":"a","sshs_ratio":1}' } });
	const all = [a, renamed, merge, foreign];

	test('parents by place, file, or name; what is gone stays named', () => {
		expect(ancestors(merge, all).map(({ parent, entry: found }) => [parent.name, found?.id ?? null])).toEqual([
			['a', 'a'],
			['b', 'b'],
			['gone', null]
		]);
		expect(ancestors(foreign, all).map(({ entry: found }) => found?.id)).toEqual(['a']);
		expect(ids(descendants(a, all))).toEqual(['m', 'f']);
		// Another file of the same name is not the parent.
		expect(ancestors(merge, [entry({ id: 'z', name: 'gone.safetensors', sha256: 'dd' })])[2]?.entry).toBeNull();
	});
});

describe('names', () => {
	test('are file names, each once', () => {
		expect(nameProblem('mouth a')).toBeNull();
		expect(nameProblem(' .safetensors')).toBe('empty');
		expect(nameProblem('a/b')).toBe('characters');
		expect(nameProblem('.hidden')).toBe('characters');
		expect(nameProblem('tab\tbed')).toBe('characters');
		expect(nameProblem('x'.repeat(200))).toBe('long');
		expect(freeName('a.safetensors', ['b.safetensors'])).toBe('a.safetensors');
		expect(freeName('A.safetensors', ['a.safetensors', 'a-2.safetensors'])).toBe('A-3.safetensors');
		expect(stem('x.SafeTensors')).toBe('x');
	});
});

describe('a release', () => {
	const png = new Blob([new Uint8Array(encode({ width: 2, height: 3, data: new Uint8Array(24), channels: 4 }))]);
	const recipe = defaultRecipe('mini');
	recipe.preview = { ...recipe.preview, prompt: '1girl, (smile:1.2)', negative: 'bad', steps: 17 };
	const made = entry({
		id: 'm',
		name: '口: a.safetensors',
		recipe,
		trigger: 'open mouth',
		strength: 0.8,
		notes: 'Opens the mouth.',
		baseModel: 'Base X',
		cover: 1,
		previews: [
			{ seed: 5, strength: 0, png },
			{ seed: 5, strength: 1.5, png }
		],
		parents: [{ name: 'p1.safetensors', ratio: 0.6 }]
	});

	test('says in both languages what a user needs', () => {
		const text = description(made);
		for (const part of [
			'# 口: a',
			'Opens the mouth.',
			'Base X',
			'open mouth',
			'0.8',
			'<lora:口: a:0.8>',
			'p1 × 0.6',
			'## English',
			'## 日本語',
			'ベースモデル'
		])
			expect(text).toContain(part);
	});

	test('holds model, pictures that say how they were drawn, texts and recipe', async () => {
		const archive = await release(made, new Blob(['weights']), new Date(2026, 0, 2));
		const files = unzipSync(new Uint8Array(await archive.arrayBuffer()));
		const text = (name: string) => new TextDecoder().decode(files[name]);
		expect(Object.keys(files)).toEqual([
			'口_ a.safetensors',
			'口_ a.png',
			'previews/01-seed5-strength1.5.png',
			'previews/02-seed5-strength0.png',
			'description.md',
			'口_ a.json',
			'recipe.json'
		]);
		expect(text('口_ a.safetensors')).toBe('weights');
		expect(JSON.parse(text('recipe.json'))).toEqual(recipe);
		expect(JSON.parse(text('口_ a.json'))).toMatchObject({ 'activation text': 'open mouth', 'preferred weight': 0.8 });
		const read = readParameters(readPngText(files['previews/01-seed5-strength1.5.png'] ?? new Uint8Array()).get('parameters') ?? '');
		expect(read.prompt).toBe('1girl, (smile:1.2) <lora:口_ a:1.5>');
		expect(read.negative).toBe('bad');
		expect(read.settings.get('Seed')).toBe('5');
		expect(read.settings.get('Steps')).toBe('17');
		expect(read.settings.get('Size')).toBe('2x3');
	});
});
