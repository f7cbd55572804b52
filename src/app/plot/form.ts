/**
 * The plot as a form: every field holds what is typed, and `toInput` makes of it what the schema judges. Pure.
 * Numbers that cannot be read go on as text, so that the schema says what is wrong with them, at their field.
 */
import { AXES, AXIS_KINDS, type AxisKind, type AxisName, type Plot, type PlotAxis, type PlotRegion } from '../../recipe/plot';
import { joinValues } from '../../recipe/plot-values';
import type { ModelRef, SamplerKind } from '../../recipe/recipe';

export interface AxisForm {
	kind: AxisKind | '';
	text: string;
	/** Which LoRA the axis moves; empty: all. */
	lora: string;
}

export interface LoraForm {
	name: string;
	sha256: string;
	strength: string;
	ratio: string;
	blocks: string;
}

export interface PlotForm {
	loras: LoraForm[];
	prompt: string;
	negative: string;
	seed: string;
	steps: string;
	cfg: string;
	sampler: SamplerKind;
	width: string;
	height: string;
	dimension: string;
	axes: Record<AxisName, AxisForm>;
	region: PlotRegion | null;
}

export const NO_AXIS: AxisForm = { kind: '', text: '', lora: '' };

const MOVES_LORAS: readonly AxisKind[] = ['strength', 'ratio', 'blocks'];

export function movesLoras(kind: AxisKind | ''): boolean {
	return MOVES_LORAS.some((name) => name === kind);
}

export function axisForm(axis: PlotAxis | null): AxisForm {
	if (!axis) return { ...NO_AXIS };
	const text = axis.kind === 'blocks' ? axis.values.join('; ') : joinValues(axis.values);
	return { kind: axis.kind, text, lora: 'loras' in axis ? (axis.loras[0] ?? '') : '' };
}

export function toForm({ loras, base, region, ...plot }: Plot): PlotForm {
	return {
		loras: loras.map(({ name, sha256 = '', strength, ratio, blocks }) => ({ name, sha256, strength: String(strength), ratio: String(ratio), blocks })),
		prompt: base.prompt,
		negative: base.negative,
		seed: String(base.seed),
		steps: String(base.steps),
		cfg: String(base.cfg),
		sampler: base.sampler,
		width: base.width === 0 ? '' : String(base.width),
		height: base.height === 0 ? '' : String(base.height),
		dimension: base.dimension,
		axes: { x: axisForm(plot.x), y: axisForm(plot.y), z: axisForm(plot.z) },
		region
	};
}

/** `1e-3`, `１．５` typed with a Japanese keyboard, blanks around: all numbers. */
function number(text: string): unknown {
	const plain = text.normalize('NFKC').replace('−', '-').trim();
	return plain !== '' && Number.isFinite(Number(plain)) ? Number(plain) : text;
}

const orZero = (text: string): unknown => (text.trim() === '' ? 0 : number(text));

function axisInput({ kind, text, lora }: AxisForm): unknown {
	if (kind === '') return null;
	const words = kind === 'prompt' || kind === 'lora' || kind === 'blocks';
	const values = words ? text : text.normalize('NFKC').replaceAll('−', '-').replaceAll('、', ',');
	return { kind, values, ...(movesLoras(kind) ? { loras: lora === '' ? [] : [lora] } : {}) };
}

/** What the schema is given. */
export function toInput(form: PlotForm, model: ModelRef): unknown {
	return {
		model,
		loras: form.loras.map(({ name, sha256, strength, ratio, blocks }) => ({ name, sha256, strength: number(strength), ratio: number(ratio), blocks })),
		base: {
			prompt: form.prompt,
			negative: form.negative,
			seed: number(form.seed),
			steps: number(form.steps),
			cfg: number(form.cfg),
			sampler: form.sampler,
			width: orZero(form.width),
			height: orZero(form.height),
			dimension: form.dimension
		},
		...Object.fromEntries(AXES.map((name) => [name, axisInput(form.axes[name])])),
		region: form.region
	};
}

/** What stands in a field when a kind is chosen. */
export function exampleText(kind: AxisKind | '', form: PlotForm): string {
	switch (kind) {
		case '':
			return '';
		case 'strength':
			return '-1-2 [7]';
		case 'ratio':
			return '0.3-0.7 [5]';
		case 'seed':
			return '1111, 2222, 3333';
		case 'steps':
			return '10, 20, 30';
		case 'cfg':
			return '3-9 (+2)';
		case 'sampler':
			return 'ddim, euler_a, dpmpp_2m';
		case 'lora':
			return joinValues(form.loras.map(({ name }) => name));
		case 'blocks':
			return 'ALL; INALL; MIDD; OUTALL';
		case 'prompt':
			return joinValues([form.prompt.split(',')[0]?.trim() ?? '', '']);
		case 'dimension':
			return '4, 8, 16, auto';
	}
}

/** Axes that make sense with so many LoRAs. */
export function kindsFor(loras: number): AxisKind[] {
	return AXIS_KINDS.filter((kind) => (loras === 0 ? !['strength', 'ratio', 'lora', 'blocks', 'dimension'].includes(kind) : loras > 1 || kind !== 'ratio'));
}
