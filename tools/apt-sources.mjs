/**
 * Reads apt's own lists of sources and derives a backports source from them: same addresses, same keys, only the suite differs.
 * Knows both notations, one-line (`deb [options] uri suite components…`) and deb822 (`Types:` … paragraphs); see sources.list(5).
 */

/** @typedef {Map<string, string>} Paragraph deb822 field name (lower case) → value, continuation lines kept */

const FIELD_OF_OPTION = new Map([
	['arch', 'architectures'],
	['lang', 'languages'],
	['target', 'targets'],
	['signed-by', 'signed-by'],
	['trusted', 'trusted']
]);

/** @param {string} text @returns {Paragraph[]} */
export function parseOneLine(text) {
	const found = [];
	for (const raw of text.split('\n')) {
		const match = /^(deb|deb-src)\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*(.*)$/.exec(raw.replace(/#.*/, '').trim());
		if (!match) continue;
		const [, type = '', options = '', uri = '', suite = '', components = ''] = match;
		const paragraph = new Map([
			['types', type],
			['uris', uri],
			['suites', suite],
			['components', components]
		]);
		for (const option of options.split(/\s+/)) {
			const [name = '', value = ''] = option.split('=', 2);
			const field = FIELD_OF_OPTION.get(name.toLowerCase());
			if (field) paragraph.set(field, value.replaceAll(',', ' '));
		}
		found.push(paragraph);
	}
	return found;
}

/** @param {string} text @returns {Paragraph[]} */
export function parseDeb822(text) {
	const found = [];
	for (const block of text.split(/\n[ \t]*\n/)) {
		/** @type {Paragraph} */
		const paragraph = new Map();
		let last = '';
		for (const line of block.split('\n')) {
			if (line.startsWith('#')) continue;
			const field = /^([A-Za-z0-9-]+):\s*(.*)$/.exec(line);
			if (field) {
				last = (field[1] ?? '').toLowerCase();
				paragraph.set(last, (field[2] ?? '').trim());
			} else if (/^\s/.test(line) && last) paragraph.set(last, `${paragraph.get(last)}\n${line}`);
		}
		if (paragraph.has('types')) found.push(paragraph);
	}
	return found;
}

/** @param {Paragraph} paragraph @param {string} field */
const words = (paragraph, field) => (paragraph.get(field) ?? '').split(/\s+/).filter(Boolean);

/** @param {Paragraph} paragraph */
const active = (paragraph) => words(paragraph, 'types').includes('deb') && !/^(no|false|0)$/i.test(paragraph.get('enabled') ?? '');

/** @param {Paragraph[]} sources @param {string} suite whether packages of this suite are already asked for */
export function hasSuite(sources, suite) {
	return sources.some((source) => active(source) && words(source, 'suites').includes(suite));
}

/**
 * @param {Paragraph[]} sources @param {string} codename of the release, e.g. bookworm
 * @returns {string | undefined} a deb822 paragraph for `<codename>-backports`; undefined when no source carries the release itself
 */
export function deriveBackports(sources, codename) {
	const base = sources.find((source) => active(source) && words(source, 'suites').includes(codename) && words(source, 'components').includes('main'));
	if (!base) return undefined;
	const derived = new Map([...base, ['types', 'deb'], ['suites', `${codename}-backports`], ['components', 'main']]);
	const titled = (/** @type {string} */ field) => (field === 'uris' ? 'URIs' : field.replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase()));
	return [...derived].map(([field, value]) => `${titled(field)}: ${value}\n`).join('');
}
