/** What the README says is so: its two set-up commands, its recipe, the options of its commands. */
import { describe, expect, test } from 'vitest';
import { parseArguments } from '../../../src/helper/arguments';
import { parseRecipe } from '../../../src/recipe/schema';
import { read } from './files';

const readme = read('README.md');
const blocks = (language: string): string[] => [...readme.matchAll(new RegExp(`^\`\`\`${language}\n([^]*?)^\`\`\``, 'gm'))].map((match) => match[1] ?? '');

describe('README', () => {
	test('has exactly two set-up commands, which package.json knows', () => {
		const setup = blocks('sh').filter((block) => block.includes('npm ci'));
		expect(setup).toEqual(['npm ci && npm start\n', 'npm ci && npm test\n']);
		const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
		expect(scripts).toMatchObject({ start: expect.any(String) as string, test: expect.any(String) as string });
		expect(read('.ci/run')).toContain('npm ci </dev/null && npm test </dev/null');
	});

	test('shows a recipe that is valid', () => {
		const [recipe] = blocks('json').map((block): unknown => JSON.parse(block));
		expect(parseRecipe(recipe)).toMatchObject({ ok: true, problems: [] });
	});

	test('names only commands and options there are', () => {
		const lines = blocks('sh').join('').split('\n');
		const commands = lines.filter((line) => line.startsWith('npx utsushi '));
		expect(commands.length).toBeGreaterThan(4);
		for (const line of commands) {
			// [optional] is given, a|b is tried as a.
			const words = line
				.replace(/[[\]]|(?<=\w)\|\S*/g, '')
				.replace('--port N', '--port 5000')
				.replaceAll('"', '')
				.split(/\s+/)
				.slice(2);
			expect(() => parseArguments(words), line).not.toThrow();
		}
	});

	test('links to files that exist', () => {
		for (const [, target = ''] of readme.matchAll(/\]\((?!https?:)([^)#]+)\)/g)) expect(() => read(target), target).not.toThrow();
	});
});
