import { describe, expect, it } from 'vitest';
import { COMMANDS, parseArguments, UsageError } from '../../../src/helper/arguments';
import { helpText } from '../../../src/helper/help';

const parse = (line: string) => parseArguments(line.split(' ').filter(Boolean));

describe('arguments', () => {
	it('asks for help when nothing is said', () => {
		expect(parse('')).toEqual({ name: 'help' });
		expect(parse('-h')).toEqual({ name: 'help' });
		expect(parse('train --help')).toEqual({ name: 'help', topic: 'train' });
		expect(parse('help sample')).toEqual({ name: 'help', topic: 'sample' });
		expect(parse('--version')).toEqual({ name: 'version' });
		for (const name of COMMANDS) expect(helpText(name)).toContain(`utsushi ${name}`);
	});

	it('reads every command', () => {
		expect(parse('serve')).toEqual({ name: 'serve', open: false });
		expect(parse('serve --port 8080 --open')).toEqual({ name: 'serve', port: 8080, open: true });
		expect(parse('train r.json --out d --json')).toEqual({ name: 'train', recipes: ['r.json'], sweeps: [], out: 'd', resume: false, csv: false, json: true });
		expect(parse('train a.json b.json --out d --sweep passes.difference.rank=4,8')).toEqual({
			name: 'train',
			recipes: ['a.json', 'b.json'],
			sweeps: [{ field: 'passes.difference.rank', values: '4,8' }],
			out: 'd',
			resume: false,
			csv: false,
			json: false
		});
		expect(parse('train --resume d')).toEqual({ name: 'train', recipes: [], sweeps: [], out: 'd', resume: true, csv: false, json: false });
		expect(parse('train r.json --out d --model anime --resume a.safetensors')).toMatchObject({
			resume: false,
			model: 'anime',
			start: 'a.safetensors',
			out: 'd'
		});
		expect(parse('sample --out a.png --prediction v')).toMatchObject({ prediction: 'v' });
		expect(parse('sample --out a.png --prediction epsilon')).not.toHaveProperty('prediction');
		expect(() => parse('sample --out a.png --prediction velocity')).toThrow(UsageError);
		expect(parse('sample --out a.png --json')).toMatchObject({ json: true });
		expect(parse('models')).toEqual({ name: 'models', action: 'list', paths: [], results: false, json: false });
		expect(parse('models add a b --results')).toEqual({ name: 'models', action: 'add', paths: ['a', 'b'], results: true, json: false });
		expect(parse('models remove a --json')).toEqual({ name: 'models', action: 'remove', paths: ['a'], results: false, json: true });
		expect(parse('recipe import p.json --family sdxl --out r.json')).toEqual({
			name: 'recipe',
			action: 'import',
			file: 'p.json',
			family: 'sdxl',
			out: 'r.json',
			json: false
		});
		expect(() => parse('recipe bake p.json')).toThrow(/check, import, export, link/);
		expect(parse('inspect f.safetensors')).toEqual({ name: 'inspect', file: 'f.safetensors', json: false });
		expect(parse('bench --json')).toEqual({ name: 'bench', json: true, f32: false, tune: false });
		expect(parse('sample --out a.png')).toMatchObject({ loras: [], seed: 0, steps: 30, sampler: 'ddim', cfg: 5, prompt: '', negative: '' });
		expect(
			parse(
				'sample --model m --lora a:0.5 --lora b:-1 --lora c --prompt x --negative y --seed 7 --steps 9 --sampler Euler-a --cfg 2.5 --size 128x192 --out o.png'
			)
		).toEqual({
			name: 'sample',
			model: 'm',
			loras: [
				{ file: 'a', strength: 0.5 },
				{ file: 'b', strength: -1 },
				{ file: 'c', strength: 1 }
			],
			prompt: 'x',
			negative: 'y',
			seed: 7,
			steps: 9,
			sampler: 'euler_a',
			cfg: 2.5,
			size: { width: 128, height: 192 },
			out: 'o.png',
			json: false
		});
	});

	it('leaves the colon of a Windows path alone', () => {
		expect(parse('sample --out o --lora C:\\loras\\a.safetensors')).toMatchObject({ loras: [{ file: 'C:\\loras\\a.safetensors', strength: 1 }] });
		expect(parse('sample --out o --lora C:\\loras\\a.safetensors:-0.5')).toMatchObject({ loras: [{ file: 'C:\\loras\\a.safetensors', strength: -0.5 }] });
	});

	it.each([
		['paint', 'paint'],
		['train', 'RECIPE.json'],
		['train a.json', '--out'],
		['train a.json --out d --sweep rank', '--sweep'],
		['train a.json --resume d', '--resume'],
		['train a.json --out d --fast', '--fast'],
		['train --resume d --sweep lr=1,2', '--resume'],
		['train r.json --resume d --out o', 'safetensors'],
		['models paint', 'add, remove, suggest'],
		['models add', 'folder'],
		['models suggest here', 'here'],
		['models --results', 'add DIR'],
		['serve --port 70000', '--port'],
		['serve --port abc', 'abc'],
		['serve now', 'now'],
		['sample --out o.png --seed -1', '--seed'],
		['sample --out o.png --seed 1.5', 'whole'],
		['sample --out o.png --steps 0', '--steps'],
		['sample --out o.png --cfg abc', 'abc'],
		['sample --out o.png --size 100x100', 'multiples of 8'],
		['sample --out o.png --size 128', '--size'],
		['sample --out o.png --size 12000x12000', '4096'],
		['sample --out o.png --sampler plms', 'plms'],
		['sample --out o.png --sampler plms', 'dpmpp_2m'],
		['sample --out o.png --lora a:abc', 'a:abc'],
		['sample --out o.png --lora a:11', '-10 to 10'],
		['sample --prompt x', '--out'],
		['sample --out', '--out'],
		['inspect', 'FILE'],
		['bench all', 'all']
	])('refuses “%s” and names %s', (line, named) => {
		expect(() => parse(line)).toThrow(UsageError);
		expect(() => parse(line)).toThrow(named);
	});
});
