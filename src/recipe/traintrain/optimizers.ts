/**
 * Optimizers of TrainTrain's menu and their setting strings ↔ ours.
 * Its 8-bit and paged kinds are ours with an 8-bit state (paging is the graphics driver's business here). Kinds we do not have become AdamW and are reported.
 */
import { defaultOptimizer } from '../optimizers';
import type { OptimizerKind, OptimizerSettings } from '../optimizers';
import { differing, readSettings, writeSettings } from './values';
import type { Literal, Naming } from './values';

interface Entry {
	/** As the menu spells it. */
	readonly name: string;
	readonly kind: OptimizerKind;
	readonly bits?: 8;
	/** Read, but never written: another entry means the same to us. */
	readonly readOnly?: true;
}

const ENTRIES: readonly Entry[] = [
	{ name: 'AdamW', kind: 'adamw' },
	{ name: 'AdamW8bit', kind: 'adamw', bits: 8 },
	{ name: 'AdaFactor', kind: 'adafactor' },
	{ name: 'Lion', kind: 'lion' },
	{ name: 'Prodigy', kind: 'prodigy' },
	{ name: 'DadaptAdam', kind: 'dAdaptAdam' },
	{ name: 'DadaptLion', kind: 'dAdaptLion' },
	{ name: 'Adam8bit', kind: 'adam', bits: 8 },
	{ name: 'SGDNesterov8bit', kind: 'sgdNesterov', bits: 8 },
	{ name: 'Lion8bit', kind: 'lion', bits: 8 },
	{ name: 'PagedAdamW8bit', kind: 'adamw', bits: 8, readOnly: true },
	{ name: 'PagedLion8bit', kind: 'lion', bits: 8, readOnly: true },
	{ name: 'AdamWScheduleFree', kind: 'scheduleFreeAdamW' },
	{ name: 'CAME', kind: 'came' },
	{ name: 'Tiger', kind: 'tiger' },
	{ name: 'PagedAdamW', kind: 'adamw', readOnly: true },
	{ name: 'PagedAdamW32bit', kind: 'adamw', readOnly: true },
	{ name: 'SGDNesterov', kind: 'sgdNesterov' },
	{ name: 'Adam', kind: 'adam' }
];

/** Plain settings by their names in the libraries. Betas and epsilons are pairs or single numbers and stand below. */
const NAMES: Readonly<Record<OptimizerKind, Naming>> = {
	lion: { weightDecay: 'weight_decay' },
	adamw: { weightDecay: 'weight_decay' },
	adam: { weightDecay: 'weight_decay' },
	sgdNesterov: { momentum: 'momentum', weightDecay: 'weight_decay' },
	adafactor: {
		relativeStep: 'relative_step',
		scaleParameter: 'scale_parameter',
		warmupInit: 'warmup_init',
		clipThreshold: 'clip_threshold',
		decayRate: 'decay_rate',
		beta1: 'beta1',
		weightDecay: 'weight_decay'
	},
	came: { clipThreshold: 'clip_threshold', weightDecay: 'weight_decay' },
	prodigy: {
		beta3: 'beta3',
		weightDecay: 'weight_decay',
		biasCorrection: 'use_bias_correction',
		safeguardWarmup: 'safeguard_warmup',
		d0: 'd0',
		dCoefficient: 'd_coef',
		growthRate: 'growth_rate'
	},
	dAdaptAdam: { weightDecay: 'weight_decay', decoupled: 'decouple', biasCorrection: 'use_bias_correction', d0: 'd0', growthRate: 'growth_rate' },
	dAdaptLion: { weightDecay: 'weight_decay', d0: 'd0' },
	scheduleFreeAdamW: { weightDecay: 'weight_decay', warmup: 'warmup_steps', r: 'r', weightRatePower: 'weight_lr_power' },
	tiger: { beta: 'beta', weightDecay: 'weight_decay' }
};

const BETAS = ['beta1', 'beta2', 'beta3'] as const;

/** Ours for a name and a setting string. `unknown`: the name or settings that have no place here. */
export function readOptimizer(name: string, text: string): { optimizer: OptimizerSettings; unknown: string[] } {
	const entry = ENTRIES.find((candidate) => candidate.name.toLowerCase() === name.trim().toLowerCase());
	const unknown = entry || name.trim() === '' ? [] : [name.trim()];
	const kind = entry?.kind ?? 'adamw';
	const made: Record<string, unknown> = { ...defaultOptimizer(kind) };
	if (entry?.bits) made['stateBits'] = entry.bits;
	const given = readSettings(text);
	// A rate of its own only works with relative steps off; TrainTrain forces them on unless they are set.
	for (const [key, value] of given) {
		if (key === 'betas' && Array.isArray(value)) {
			(value as Literal[]).forEach((beta, i) => {
				const field = BETAS[i];
				if (field && field in made && typeof beta === 'number') made[field] = beta;
			});
		} else if (key === 'eps' && typeof value === 'number' && 'epsilon' in made) made['epsilon'] = value;
		else if (key === 'eps' && Array.isArray(value) && 'epsilon1' in made) [made['epsilon1'], made['epsilon2']] = value as Literal[];
		else if (key === 'eps1' && 'epsilon1' in made) made['epsilon1'] = value;
		else if (key === 'eps2' && 'epsilon2' in made) made['epsilon2'] = value;
		else {
			const field = Object.entries(NAMES[kind]).find(([, library]) => library === key)?.[0];
			if (field && typeof value === typeof made[field]) made[field] = value;
			else unknown.push(key);
		}
	}
	return { optimizer: made as OptimizerSettings, unknown };
}

export function writeOptimizer(optimizer: OptimizerSettings): { name: string; settings: string } {
	const bits = 'stateBits' in optimizer && optimizer.stateBits === 8 ? 8 : undefined;
	const entry = ENTRIES.find((candidate) => candidate.kind === optimizer.kind && candidate.bits === bits && !candidate.readOnly);
	const own: Readonly<Record<string, unknown>> = { ...optimizer };
	const standard: Readonly<Record<string, unknown>> = { ...defaultOptimizer(optimizer.kind) };
	const changed = (field: string): boolean => own[field] !== standard[field];
	const settings: [string, Literal][] = [];
	const betas = BETAS.filter((field) => field in own && !(field in NAMES[optimizer.kind]));
	if (betas.length > 1 && betas.some(changed)) settings.push(['betas', betas.map((field) => own[field] as number)]);
	if (changed('epsilon')) settings.push(['eps', own['epsilon'] as number]);
	if (changed('epsilon1') || changed('epsilon2')) {
		const [one, two] = [own['epsilon1'] as number, own['epsilon2'] as number];
		if (optimizer.kind === 'adafactor') settings.push(['eps', [one, two]]);
		else settings.push(['eps1', one], ['eps2', two]);
	}
	settings.push(...differing(own, standard, NAMES[optimizer.kind]));
	return { name: entry?.name ?? 'AdamW', settings: writeSettings(settings) };
}
