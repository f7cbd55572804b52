/** The pure parts of the set-up and build tools: apt's sources in both notations, the backports derived from them, the lists of the build. */
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { deriveBackports, hasSuite, parseDeb822, parseOneLine } from '../../../tools/apt-sources.mjs';
import { staticClosure } from '../../../tools/vite/budget';
import { listFiles } from '../../../tools/vite/offline';
import { compact } from '../../../tools/vite/shaders';

const DEB822 = `# a comment
Types: deb
URIs: http://archive.invalid/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/key.gpg

Types: deb
URIs: http://archive.invalid/debian-security
Suites: bookworm-security
Components: main
`;

describe('apt sources', () => {
	test('deb822: backports keep address and key', () => {
		expect(deriveBackports(parseDeb822(DEB822), 'bookworm')).toBe(
			'Types: deb\nURIs: http://archive.invalid/debian\nSuites: bookworm-backports\nComponents: main\nSigned-By: /usr/share/keyrings/key.gpg\n'
		);
	});

	test('deb822: a key in the paragraph itself keeps its lines', () => {
		const text = `${DEB822.split('\n\n')[0]?.replace('/usr/share/keyrings/key.gpg', '')}\n -----BEGIN\n .\n abc\nArchitectures: amd64`;
		expect(deriveBackports(parseDeb822(text), 'bookworm')).toContain('Signed-By: \n -----BEGIN\n .\n abc\nArchitectures: amd64\n');
	});

	test('one line: options become fields', () => {
		const sources = parseOneLine(
			'# deb http://x y main\ndeb [arch=amd64,arm64 signed-by=/k.gpg trusted=yes] http://archive.invalid/debian bookworm main # more\n'
		);
		expect(deriveBackports(sources, 'bookworm')).toBe(
			'Types: deb\nURIs: http://archive.invalid/debian\nSuites: bookworm-backports\nComponents: main\nArchitectures: amd64 arm64\nSigned-By: /k.gpg\nTrusted: yes\n'
		);
	});

	test('finds a suite that is there, ignores disabled and source-only entries', () => {
		expect(hasSuite(parseDeb822(DEB822), 'bookworm-updates')).toBe(true);
		expect(hasSuite(parseDeb822(DEB822), 'bookworm-backports')).toBe(false);
		expect(hasSuite(parseDeb822(DEB822.replaceAll('Types:', 'Enabled: no\nTypes:')), 'bookworm')).toBe(false);
		expect(hasSuite(parseOneLine('deb-src http://archive.invalid/debian bookworm main'), 'bookworm')).toBe(false);
	});

	test('nothing to derive from: no source', () => {
		expect(deriveBackports(parseDeb822(DEB822), 'trixie')).toBeUndefined();
		expect(deriveBackports([], 'bookworm')).toBeUndefined();
	});
});

describe('the build', () => {
	test('the first load is the entry with all it imports, circles included', () => {
		const graph: Record<string, string[]> = { a: ['b', 'c'], b: ['c'], c: ['a'], d: ['a'] };
		expect([...staticClosure('a', (file) => graph[file] ?? [])].sort()).toEqual(['a', 'b', 'c']);
	});

	test('shaders lose comments and indentation, nothing else', () => {
		expect(compact('// rule\n@if(f16) enable f16;\n\n\tlet a = b / c; // why\n\t\tfn f() {}\n')).toBe('@if(f16) enable f16;\nlet a = b / c;\nfn f() {}');
	});

	test('lists every file but the worker, sorted, with its hash', async () => {
		const folder = mkdtempSync(join(tmpdir(), 'utsushi-list-'));
		try {
			mkdirSync(join(folder, 'sub'));
			for (const name of ['z.txt', 'sub/a.txt', 'sw.js']) writeFileSync(join(folder, name), name);
			const hash = (text: string): string => createHash('sha256').update(text).digest('base64');
			expect(await listFiles(folder)).toEqual([
				['sub/a.txt', hash('sub/a.txt')],
				['z.txt', hash('z.txt')]
			]);
		} finally {
			rmSync(folder, { recursive: true, force: true });
		}
	});
});
