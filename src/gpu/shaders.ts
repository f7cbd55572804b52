/**
 * Shader texts: `shaders/*.wesl` linked to plain WGSL for one set of conditions and constants.
 *
 * Rules
 * - Everything a kernel varies is an `@if` condition or a `constants::` number, never text pasting.
 * - `enable` lines are written here, from the conditions `f16`, `subgroups` and `subgroup_matrix`, because they belong to the machine, not to the kernel.
 * - `access[i]` overrides how binding i of group 0 is declared. WebGPU refuses one buffer as both read-only and writable storage in a dispatch,
 *   even for disjoint ranges; values that share an arena must therefore all be bound `read_write`, while weights stay `read`.
 */
/** By binding number; numbers that a variant leaves out are undefined. */
export type BindingAccess = readonly ('read' | 'read_write' | undefined)[];

export interface ShaderRequest {
	/** `shaders/<shader>.wesl`. */
	readonly shader: string;
	readonly conditions: Readonly<Record<string, boolean>>;
	readonly constants: Readonly<Record<string, number>>;
	readonly access: BindingAccess;
}

const files = import.meta.glob<string>(['/shaders/*.wesl', '!/shaders/strip_*.wesl', '!/shaders/softmax.wesl', '!/shaders/weights_load.wesl'], {
	query: '?raw',
	eager: true,
	import: 'default'
});
/** Only the VAE and files on their way to the GPU need these: they come with their first pipeline, not with the page. */
const later = import.meta.glob<string>(['/shaders/strip_*.wesl', '/shaders/softmax.wesl', '/shaders/weights_load.wesl'], { query: '?raw', import: 'default' });
const sources: Record<string, string> = {};
for (const [path, text] of Object.entries(files)) sources[path.slice('/shaders/'.length)] = text;

/** A short hash of the texts of all shaders whose names match: whether kernels are still the same. */
export function sourcesHash(names: RegExp): string {
	let hash = 0x811c9dc5;
	for (const [name, text] of Object.entries(sources).sort(([a], [b]) => (a < b ? -1 : 1))) {
		if (!names.test(name)) continue;
		for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
	}
	return (hash >>> 0).toString(16);
}

const linked = new Map<string, Promise<string>>();

function sorted(record: Readonly<Record<string, boolean | number>>): string {
	return Object.entries(record)
		.filter(([, value]) => value !== false)
		.sort(([a], [b]) => (a < b ? -1 : 1))
		.map(([name, value]) => (value === true ? name : `${name}=${value}`))
		.join(',');
}

/** A short name for people: `gemm[x_half,w_half,TILE=64]`. Also the key of the link cache. */
export function shaderName(request: ShaderRequest): string {
	return `${request.shader}[${[sorted(request.conditions), sorted(request.constants), Array.from(request.access, (a) => (a ? (a === 'read' ? 'r' : 'w') : '-')).join('')].join(';')}]`;
}

/** Linked WGSL. Throws with the shader's name when the file is missing or does not parse. */
export function shaderText(request: ShaderRequest): Promise<string> {
	const key = shaderName(request);
	let text = linked.get(key);
	if (!text) {
		text = linkShader(request, key);
		linked.set(key, text);
	}
	return text;
}

/** The linker weighs more than all shaders; it comes with the first pipeline, not with the page. Parsed files do not change, so all links share them: half of the work of a link is parsing. */
async function loadLinker() {
	const { link, RecordResolver } = await import('wesl');
	return { link, resolver: new RecordResolver(sources) };
}

let linker: ReturnType<typeof loadLinker> | undefined;

function openLinker(): ReturnType<typeof loadLinker> {
	linker ??= loadLinker();
	linker.catch(() => (linker = undefined));
	return linker;
}

/** Loads a shader that comes later, and what it imports. */
async function bring(shader: string): Promise<void> {
	const load = later[`/shaders/${shader}.wesl`];
	if (!load) return;
	const text = await load();
	sources[`${shader}.wesl`] = text;
	await Promise.all(Array.from(text.matchAll(/^(?:@if\(.*\) |@else )?import package::(\w+)/gm), ([, name]) => bring(name ?? '')));
}

async function linkShader(request: ShaderRequest, name: string): Promise<string> {
	await bring(request.shader);
	if (!(`${request.shader}.wesl` in sources)) throw new Error(`There is no shader shaders/${request.shader}.wesl`);
	const { link, resolver } = await openLinker();
	let body: string;
	try {
		const result = await link({
			resolver,
			rootModuleName: request.shader,
			conditions: { ...request.conditions },
			constants: { ...request.constants },
			sourceMap: false
		});
		body = result.dest;
	} catch (cause) {
		throw new Error(`${name}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
	}
	const declared = body.replace(/(@group\(0\)\s*@binding\((\d+)\)\s*var<storage,\s*)(read_write|read)>/g, (whole, head: string, index: string) => {
		const access = request.access[Number(index)];
		return access ? `${head}${access}>` : whole;
	});
	const enables = Object.entries(ENABLES).filter(([condition]) => request.conditions[condition]);
	return enables.map(([, lines]) => lines).join('') + dropStandIns(declared);
}

/** Matrix operations need subgroups too; whether all lanes take part is checked by the tests on a device that has them, not by the compiler. */
const ENABLES: Readonly<Record<string, string>> = {
	f16: 'enable f16;\n',
	subgroups: 'enable subgroups;\n',
	subgroup_matrix: 'enable chromium_experimental_subgroup_matrix;\ndiagnostic(off, chromium.subgroup_matrix_uniformity);\n'
};

/** Removes the declarations of shaders/subgroup_matrix.wesl, so that the compiler's own are used. */
function dropStandIns(body: string): string {
	return body.replace(/^(?:const (?:row|col)_major = 0;|alias subgroup_matrix_\w+ = u32;|fn subgroupMatrix\w+\(\)\s*\{\s*\})[ \t]*$/gm, '');
}
