import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { defaultRecipe } from '../../../src/recipe/defaults';
import { defaultOptimizer } from '../../../src/recipe/optimizers';
import { parseRecipe } from '../../../src/recipe/schema';

function problemsOf(input: unknown) {
	return parseRecipe(input).problems;
}

function withPass(change: Record<string, unknown>) {
	return { version: 1, passes: { copier: change } };
}

describe('parseRecipe', () => {
	it.each(['mini', 'sd15', 'sdxl'] as const)('accepts the default of %s unchanged and without remarks', (family) => {
		const recipe = { ...defaultRecipe(family) };
		const parsed = parseRecipe(JSON.parse(JSON.stringify(recipe)));
		expect(parsed).toEqual({ ok: true, recipe, problems: [] });
	});

	it('completes a nearly empty recipe with the family default', () => {
		const parsed = parseRecipe({
			version: 1,
			model: { name: 'm.safetensors', family: 'sd15', path: 'm.safetensors' },
			passes: { difference: { rank: 8, optimizer: { kind: 'adamw' } } }
		});
		if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
		expect(parsed.recipe.passes.difference.rank).toBe(8);
		expect(parsed.recipe.passes.difference.optimizer).toEqual(defaultOptimizer('adamw'));
		expect(parsed.recipe.passes.copier).toEqual(defaultRecipe('sd15').passes.copier);
		expect(parsed.recipe.model).toEqual({ name: 'm.safetensors', family: 'sd15', path: 'm.safetensors' });
	});

	it('does not point at the bundled picture when another one is named', () => {
		const parsed = parseRecipe({ version: 1, images: { original: { name: 'mine.png' } } });
		expect(parsed.ok && parsed.recipe.images.original).toEqual({ name: 'mine.png' });
		expect(parsed.ok && parsed.recipe.images.target.bundled).toBe('front/a.png');
	});

	it.each([
		['rank 0', { rank: 0 }, 'recipe.tooSmall', 'passes.copier.rank', /rank is 0; the smallest allowed value is 1/],
		['half a rank', { rank: 1.5 }, 'recipe.notWhole', 'passes.copier.rank', /1\.5/],
		['a rate in words', { learningRate: 'abc' }, 'recipe.notNumber', 'passes.copier.learningRate', /"abc".*not a number/],
		['a quoted rate', { learningRate: '1e-4' }, 'recipe.notNumber', 'passes.copier.learningRate', /without quotes/],
		['a huge rate', { learningRate: 1e300 }, 'recipe.tooLarge', 'passes.copier.learningRate', /largest allowed value is 1/],
		['endless iterations', { iterations: 1e15 }, 'recipe.tooLarge', 'passes.copier.iterations', /1000000/],
		['infinity', { iterations: Infinity }, 'recipe.notNumber', 'passes.copier.iterations', /Infinity/],
		['an unknown optimizer', { optimizer: { kind: 'sgd' } }, 'recipe.notOneOf', 'passes.copier.optimizer.kind', /"sgd".*lion/],
		['an unknown block', { blocks: ['IN99'] }, 'recipe.notOneOf', 'passes.copier.blocks.0', /IN99/],
		['no block', { blocks: [] }, 'recipe.tooShort', 'passes.copier.blocks', /at least one/],
		['blocks as text', { blocks: 'all' }, 'recipe.notList', 'passes.copier.blocks', /list/],
		['a reversed range', { timesteps: { min: 500, max: 100 } }, 'recipe.timestepRange', 'passes.copier.timesteps', /500 to 100/],
		['conv rank without alpha', { convRank: 4, convAlpha: 0 }, 'recipe.alphaZero', 'passes.copier.convAlpha', /nothing could be learned/],
		['a seed below -1', { seed: -2 }, 'recipe.tooSmall', 'passes.copier.seed', /-1/],
		['null for a pass', null, 'recipe.notObject', 'passes.copier', /null/]
	])('refuses %s, naming field, value and remedy', (_, change, code, where, message) => {
		const parsed = parseRecipe(withPass(change as Record<string, unknown>));
		expect(parsed.ok).toBe(false);
		const found = parsed.problems.find((p) => p.code === code);
		expect(found).toMatchObject({ level: 'error', where });
		expect(found?.message).toMatch(message);
	});

	it('reports every problem at once', () => {
		expect(problemsOf({ version: 1, storage: 'f8', passes: { copier: { rank: 0 }, difference: { batch: 'x' } } }).map((p) => p.where)).toEqual(
			expect.arrayContaining(['passes.copier.rank', 'passes.difference.batch', 'storage'])
		);
	});

	it('warns about alpha above rank but accepts it', () => {
		const parsed = parseRecipe(withPass({ rank: 4, alpha: 8 }));
		expect(parsed.ok).toBe(true);
		expect(parsed.problems).toMatchObject([{ level: 'warning', code: 'recipe.alphaAboveRank', where: 'passes.copier.alpha', values: { alpha: 8, rank: 4 } }]);
	});

	it('warns about a full-size rate that belongs to a larger batch, not about the mini rates', () => {
		const full = problemsOf({ version: 1, model: { name: 'x', family: 'sdxl' }, passes: { copier: { learningRate: 1e-3 } } });
		expect(full).toMatchObject([{ level: 'warning', code: 'recipe.rateHighForBatch' }]);
		expect(problemsOf(withPass({ learningRate: 5e-3 }))).toEqual([]);
	});

	it('names a misspelled field', () => {
		expect(problemsOf(withPass({ learningrate: 1 }))).toMatchObject([{ level: 'warning', code: 'recipe.unknownField', where: 'passes.copier.learningrate' }]);
	});

	it.each([[undefined], [2], ['1'], [null]])('refuses version %s', (version) => {
		expect(problemsOf({ version })).toMatchObject([{ level: 'error', code: 'recipe.version' }]);
	});

	it.each([[null], [7], ['{}'], [[]], [true], [undefined]])('refuses %s as a document', (input) => {
		expect(problemsOf(input)).toMatchObject([{ code: 'recipe.notObject' }]);
	});

	it('is not fooled by hostile property names', () => {
		const parsed = parseRecipe(
			JSON.parse('{"version":1,"__proto__":{"storage":"evil"},"constructor":{"prototype":{"polluted":1}},"passes":{"__proto__":{"copier":1}}}')
		);
		expect(parsed.ok && parsed.recipe).toEqual(defaultRecipe('mini'));
		expect(parsed.problems.map((p) => p.where).sort()).toEqual(['__proto__', 'constructor', 'passes.__proto__']);
		expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
	});

	it.each(['../up', 'a/b', 'a:b', '.hidden', ' x', 'nul\u0000', ''])('refuses the name %j', (name) => {
		const parsed = parseRecipe({ version: 1, name });
		expect(parsed.ok).toBe(false);
		expect(parsed.problems[0]?.where).toBe('name');
	});

	it('accepts Japanese names and prompts', () => {
		expect(parseRecipe({ version: 1, name: '口あけ「あ」', prompts: { original: '少女', target: '👄' } }).ok).toBe(true);
	});

	it('never throws, and what it accepts it accepts again unchanged', () => {
		fc.assert(
			fc.property(
				fc.object({
					maxDepth: 3,
					key: fc.constantFrom('passes', 'copier', 'rank', 'model', 'family', 'version', '__proto__', 'optimizer', 'kind', 'preview', 'seeds')
				}),
				(input) => {
					const parsed = parseRecipe({ ...input, version: 1 });
					if (parsed.ok) expect(parseRecipe(parsed.recipe)).toMatchObject({ ok: true, recipe: parsed.recipe });
					else expect(parsed.problems.some((p) => p.level === 'error' && p.message.length > 10)).toBe(true);
				}
			),
			{ numRuns: 200 }
		);
	});
});
