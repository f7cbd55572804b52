/**
 * The rooms of `src/` and which rooms each may import: docs/architecture.md, as data. Of `later` rooms, types may be imported
 * at once and code only on demand, with `import()`: it stays out of the first load.
 */
interface Room {
	imports: readonly string[];
	later?: readonly string[];
}

const LEAVES = ['recipe', 'formats'];
const ENGINE = ['kernels', 'gpu', 'graph'];
const MODEL = ['diffusion', 'onnx', ...ENGINE];

export const ROOMS: Readonly<Record<string, Room>> = {
	formats: { imports: [] },
	recipe: { imports: [] },
	graph: { imports: [] },
	gpu: { imports: [] },
	kernels: { imports: ['gpu', 'graph', 'formats'], later: ['recipe'] },
	onnx: { imports: ['formats'] },
	diffusion: { imports: ['onnx', ...ENGINE, ...LEAVES] },
	lora: { imports: [...MODEL, ...LEAVES] },
	training: { imports: ['lora', ...MODEL, ...LEAVES] },
	storage: { imports: LEAVES },
	jobs: { imports: ['storage', 'training', 'lora', ...MODEL, ...LEAVES] },
	service: { imports: ['jobs', 'storage', 'training', 'lora', ...MODEL, ...LEAVES] },
	helper: { imports: ['service', 'jobs', 'storage', 'training', 'lora', ...MODEL, ...LEAVES] },
	app: { imports: ['service', ...LEAVES], later: ['storage'] }
};

/** Where Node's own modules may be imported: everything else runs in a browser worker too. */
export function mayUseNode(file: string): boolean {
	return file.startsWith('src/helper/') || /(^|\/)node\.ts$/.test(file);
}

export interface Import {
	specifier: string;
	typeOnly: boolean;
	/** `import()`. */
	onDemand: boolean;
}

const STATIC = /^\s*(?:import|export)\s+(type\s+)?(?:[\w*${},\s]+?\s+from\s+)?['"]([^'"]+)['"]/gm;
const OTHER = /\b(import|new URL)\(\s*['"]([^'"]+)['"]/g;

/** Every module a source text names: imports, re-exports, dynamic imports and `new URL(…, import.meta.url)` (workers). */
export function importsOf(source: string): Import[] {
	const text = source.replace(/\/\*[\s\S]*?\*\//g, '');
	return [
		...[...text.matchAll(STATIC)].map((match) => ({ specifier: match[2] ?? '', typeOnly: match[1] !== undefined, onDemand: false })),
		...[...text.matchAll(OTHER)].map((match) => ({ specifier: match[2] ?? '', typeOnly: false, onDemand: match[1] === 'import' }))
	];
}

/** The room a file of `src/` lies in. */
export function roomOf(file: string): string {
	return file.split('/')[1] ?? '';
}

/** What is wrong with one import of `file`; undefined when it is allowed. `target`: the imported file if it is one of ours. */
export function complaint(file: string, { specifier, typeOnly, onDemand }: Import, target: string | undefined): string | undefined {
	if (specifier.startsWith('node:')) return mayUseNode(file) ? undefined : `${file} imports ${specifier}; only src/helper/ and files named node.ts may`;
	if (target === undefined) return undefined;
	const from = roomOf(file);
	const to = roomOf(target);
	const room = ROOMS[from];
	if (room === undefined) return `${file} lies in no known room`;
	if (from === to || room.imports.includes(to)) return undefined;
	if (room.later?.includes(to)) return typeOnly || onDemand ? undefined : `${file} imports ${target}; only types, or on demand with import()`;
	return `${file} imports ${target}; ${from} may import ${room.imports.join(', ') || 'no other room'}`;
}
