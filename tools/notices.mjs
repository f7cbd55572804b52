/**
 * Writes THIRD_PARTY_NOTICES.md: every package that runs with Utsushi (the production dependencies of the lock file and the parts of
 * Svelte that are compiled into the app) and every piece of data taken from elsewhere, with its licence. Run it after changing dependencies:
 * `npm run notices`; a test compares the file with what this would write. Licences that ask for more than a notice are refused.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Development dependencies whose code ends up in the app. */
const COMPILED_IN = ['svelte', 'clsx', 'esm-env'];
/** Peers for the compiler only; no code of theirs runs. */
const TYPES_ONLY = /^(@types\/|@webgpu\/types$|undici-types$|typescript$)/;
const ALLOWED = new Set(['MIT', 'ISC', '0BSD', 'BSD-2-Clause', 'BSD-3-Clause', 'Apache-2.0']);

const DATA = [
	{
		name: "The merges of CLIP's byte pair encoding (the vocabulary of Stable Diffusion's text encoders)",
		licence: 'MIT',
		source: 'https://github.com/openai/CLIP',
		text: 'clip.txt'
	}
];

/** @typedef {{ version?: string, license?: string, dev?: boolean }} Locked */

/** @param {string} folder @param {string} licence @param {string} holder @returns {string} */
function licenceText(folder, licence, holder) {
	const file = readdirSync(folder).find((name) => /^(licen[cs]e|copying)(\.(md|txt))?$/i.test(name));
	if (file) return readFileSync(join(folder, file), 'utf8');
	// Some packages name their licence without shipping its text.
	if (licence === 'MIT') return readFileSync(join(root, 'tools/licences/clip.txt'), 'utf8').replace('Copyright (c) 2021 OpenAI', `Copyright (c) ${holder}`);
	return `${licence}, Copyright (c) ${holder}`;
}

/** @param {unknown} author as package.json has it @param {string} name */
function holderOf(author, name) {
	if (typeof author === 'string' && author !== '') return author.replace(/\s*<[^>]*>/, '');
	if (typeof author === 'object' && author !== null && 'name' in author && typeof author.name === 'string') return author.name;
	return `the authors of ${name}`;
}

/** @returns {string} the whole file */
export function notices() {
	/** @type {{ packages: Record<string, Locked> }} */
	const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
	/** @type {Map<string, string[]>} text → titles of what stands under it */
	const byText = new Map();
	/** @param {string} title @param {string} text */
	const add = (title, text) => {
		const clean = text
			.replace(/\r\n?/g, '\n')
			.replace(/[ \t]+$/gm, '')
			.trim();
		byText.set(clean, [...(byText.get(clean) ?? []), title]);
	};
	for (const [path, { version, license = '', dev }] of Object.entries(lock.packages)) {
		const name = path.split('node_modules/').at(-1) ?? '';
		if (name === '' || TYPES_ONLY.test(name) || (dev === true && !COMPILED_IN.includes(name)) || !existsSync(join(root, path))) continue;
		if (!ALLOWED.has(license)) throw new Error(`${name} has the licence "${license}", which is not on the list of tools/notices.mjs.`);
		const manifest = JSON.parse(readFileSync(join(root, path, 'package.json'), 'utf8'));
		add(`${name} ${version} (${license})`, licenceText(join(root, path), license, holderOf(manifest.author, name)));
	}
	for (const { name, licence, source, text } of DATA) add(`${name} (${licence}), ${source}`, readFileSync(join(root, 'tools/licences', text), 'utf8'));
	const parts = [...byText].map(([text, titles]) => `## ${titles.join('\n## ')}\n\n\`\`\`text\n${text}\n\`\`\`\n`);
	return [
		'# Third-party notices\n',
		'Utsushi itself is under the MIT licence (see LICENSE). The mini model, its pictures and the samples were made for Utsushi from nothing but its own',
		'drawings (`tools/mini-model/`). What follows is by others. Written by `npm run notices`.\n',
		...parts
	].join('\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(join(root, 'THIRD_PARTY_NOTICES.md'), notices());
