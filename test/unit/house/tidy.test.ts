/** Rules of the house that no compiler knows: short files, nothing about one machine, notices and lock file in order. */
import { describe, expect, test } from 'vitest';
import { notices } from '../../../tools/notices.mjs';
import { projectFiles, read } from './files';

const LONGEST = 450;
const TEXT = /\.(ts|mjs|js|svelte|wesl|wgsl|json|md|html|css|py|sh|svg|webmanifest|yml)$|^\.ci\/|^bin\//;
const texts = projectFiles().filter((file) => TEXT.test(file));

describe('files', () => {
	test(`are at most ${LONGEST} lines long`, () => {
		const code = texts.filter((file) => /^(src|shaders|test|bench|tools|bin)\/.*\.(ts|mjs|svelte|wesl|css)$/.test(file) && !file.startsWith('test/fixtures/'));
		expect(code.length).toBeGreaterThan(50);
		const long = code.map((file) => [file, read(file).split('\n').length - 1] as const).filter(([, lines]) => lines > LONGEST);
		expect(long).toEqual([]);
	});

	test('hold no path of one machine', () => {
		// Spelled apart, so that this file does not find itself.
		const machine = new RegExp(`(?<![\\w.:/-])/(${['work', 'tmp', 'root', 'farm'].join('|')})/`);
		const found = texts.flatMap((file) =>
			read(file)
				.split('\n')
				.flatMap((line, i) => (machine.test(line) ? `${file}:${i + 1}: ${line.trim()}` : []))
		);
		expect(found).toEqual([]);
	});

	test('start with a comment that says what they are for', () => {
		const code = projectFiles().filter((file) => /^(src|tools|bench)\/.*\.(ts|mjs)$/.test(file) && !/^tools\/mini-model\//.test(file));
		const bare = code.filter((file) => !/^(#!.*\n)?\s*(\/\*|\/\/)/.test(read(file)));
		expect(bare).toEqual([]);
	});
});

describe('dependencies', () => {
	test('the notices are up to date (npm run notices)', () => {
		expect(read('THIRD_PARTY_NOTICES.md')).toBe(notices());
	});

	test('the lock file names no registry', () => {
		const lock = read('package-lock.json');
		expect(lock).not.toContain('"resolved"');
		expect(lock).not.toMatch(/https?:\/\/[^"]*\.tgz/);
	});
});
