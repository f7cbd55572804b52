/**
 * What the fields of a valid recipe say together: contradictions (errors) and combinations that are allowed but usually a mistake (warnings).
 * Sources: the pitfalls of the reference, kohya's and TrainTrain's users' reports; the rates are those of `advice.ts`.
 */
import { highestUsualRate } from './advice';
import { problem } from './problem';
import type { RecipeProblem, RecipeProblemCode } from './problem';
import type { Mode, ModelFamily, PassSettings, Recipe } from './recipe';
import { hasTextModules } from './text-encoder';

type Values = Record<string, string | number>;

/** Optimizers that find the size of their steps themselves; their rate is a factor and stays near 1 (prodigyopt, dadaptation). */
const ADAPTIVE: readonly string[] = ['prodigy', 'dAdaptAdam', 'dAdaptLion'];
/** Narrowest layers of the families: a rank above cannot hold more than one of that size. */
const NARROWEST: Readonly<Record<ModelFamily, number>> = { mini: 64, sd15: 320, sdxl: 640 };

function checkPass(settings: PassSettings, where: string, family: ModelFamily, mode: Mode): RecipeProblem[] {
	const found: RecipeProblem[] = [];
	const warn = (code: RecipeProblemCode, field: string, values: Values, message: string) =>
		found.push(problem('warning', code, `${where}.${field}`, values, message));
	const { rank, alpha, convRank, convAlpha, timesteps, schedule, iterations } = settings;
	// iLECO is commonly trained with alpha above the rank: its pull is weak (TrainTrain's README and preset).
	if (alpha > rank && mode !== 'leco') {
		warn(
			'recipe.alphaAboveRank',
			'alpha',
			{ alpha, rank },
			`${where}.alpha ${alpha} is above the rank ${rank}: the change is multiplied by ${alpha / rank}, which often breaks pictures. Use at most ${rank}.`
		);
	}
	if (convRank > 0 && convAlpha === 0) {
		const message = `${where}.convAlpha is 0 while convRank is ${convRank}: nothing could be learned. Use ${convRank}.`;
		found.push(problem('error', 'recipe.alphaZero', `${where}.convAlpha`, { rank: convRank }, message));
	}
	if (convRank > 0 && convAlpha > convRank) {
		const values = { alpha: convAlpha, rank: convRank };
		warn('recipe.alphaAboveRank', 'convAlpha', values, `${where}.convAlpha ${convAlpha} is above the conv rank ${convRank}; use at most ${convRank}.`);
	}
	if (timesteps.min >= timesteps.max) {
		const message = `${where}.timesteps run from ${timesteps.min} to ${timesteps.max}; the end must be larger than the start (it is not included).`;
		found.push(problem('error', 'recipe.timestepRange', `${where}.timesteps`, { ...timesteps }, message));
	}
	if (schedule.warmup >= iterations) {
		const values = { warmup: schedule.warmup, iterations };
		warn(
			'recipe.warmupTooLong',
			'schedule.warmup',
			values,
			`${where}.schedule.warmup ${schedule.warmup} is not shorter than the ${iterations} iterations: the full rate is never reached.`
		);
	}
	if (settings.blocks.includes('BASE') && mode !== 'lora') {
		warn('recipe.textEncoderBlock', 'blocks', {}, `${where}.blocks names BASE; only mode lora trains the text encoder, so BASE is ignored.`);
	}
	if (settings.blocks.includes('BASE') && mode === 'lora' && !hasTextModules(settings)) {
		const message = `${where}.blocks names BASE, but with attention "${settings.attention}" the text encoder is left out. Use attention "full".`;
		warn('recipe.textEncoderAttention', 'blocks', { attention: settings.attention }, message);
	}
	if (mode === 'lora' && hasTextModules(settings) && settings.textEncoderRate > 0 && ADAPTIVE.includes(settings.optimizer.kind)) {
		const message = `${where}.textEncoderRate has no effect: ${settings.optimizer.kind} finds one step size for everything. Use 0, or another optimizer.`;
		warn('recipe.textRateIgnored', 'textEncoderRate', { optimizer: settings.optimizer.kind }, message);
	}
	const { network, attention, strength, optimizer, learningRate, batch } = settings;
	if (network === 'loha' && (attention !== 'full' || strength !== 1)) {
		const field = attention !== 'full' ? 'attention' : 'strength';
		warn('recipe.lohaIgnores', field, { field }, `${where}.${field} has no effect on a loha network. Use network "lierla", or leave it as it is by default.`);
	}
	if (network === 'lierla' && attention !== 'full' && convRank > 0) {
		const message = `${where}.convRank ${convRank} has no effect: with attention "${attention}" only the attention's projections are trained. Use attention "full" or convRank 0.`;
		warn('recipe.convWithoutUse', 'convRank', { convRank, attention }, message);
	}
	if (rank > NARROWEST[family]) {
		const width = NARROWEST[family];
		warn(
			'recipe.rankAboveWidth',
			'rank',
			{ rank, width },
			`${where}.rank ${rank} is more than the narrowest layers hold (${width}): the file grows, the result does not.`
		);
	}
	if ((optimizer.kind === 'lion' || optimizer.kind === 'adamw' || optimizer.kind === 'adam') && optimizer.stateBits === 8 && mode === 'difference') {
		const message = `${where}.optimizer keeps its state in 8 bits; difference runs are reported to lose small changes with it. Use 32 bits if memory allows.`;
		warn('recipe.eightBit', 'optimizer.stateBits', {}, message);
	}
	if (ADAPTIVE.includes(optimizer.kind)) {
		if (learningRate < 0.1) {
			const values = { rate: learningRate, optimizer: optimizer.kind };
			warn(
				'recipe.rateLowForAdaptive',
				'learningRate',
				values,
				`${where}.learningRate ${learningRate} is very low for ${optimizer.kind}, which finds its step size itself: use 1.`
			);
		}
		return found;
	}
	const usual = highestUsualRate(family, batch);
	// Adafactor with relative steps does not use the rate at all.
	if (usual !== null && mode === 'difference' && learningRate > usual * 4 && !(optimizer.kind === 'adafactor' && optimizer.relativeStep)) {
		const values = { rate: learningRate, batch, usual };
		const message = `${where}.learningRate ${learningRate} is high for batch ${batch}; rates up to about ${usual} are usual, above that training often collapses.`;
		warn('recipe.rateHighForBatch', 'learningRate', values, message);
	}
	return found;
}

/** Steps after which ADDifT is known to overfit on full-size models (README of TrainTrain: 30–100 at batch 1). */
const LONG_ADDIFT = 300;

function checkMode(recipe: Recipe): RecipeProblem[] {
	const found: RecipeProblem[] = [];
	const warn = (code: RecipeProblemCode, where: string, values: Values, message: string) => found.push(problem('warning', code, where, values, message));
	const { mode, copier, leco, dataset, addift, passes } = recipe;
	if (recipe.base === 'int8' && Object.values(passes).some(({ network }) => network === 'loha')) {
		const message = 'base is "int8", but a network is "loha", whose change is added to the weights themselves. Use network "lierla", or base "f16".';
		found.push(problem('error', 'recipe.int8Loha', 'base', {}, message));
	}
	if (mode === 'difference' && copier.use === 'file' && !copier.file) {
		warn(
			'recipe.noCopierFile',
			'copier.file',
			{},
			'copier.use is "file", but copier.file names none. Give the LoRA file of a finished copier, or use "train".'
		);
	}
	if (mode === 'leco' && leco.original.trim() === '') {
		warn('recipe.noConcept', 'leco.original', {}, 'leco.original is empty: name the concept to change, e.g. "blue hair".');
	}
	if (mode === 'multiAddift' && dataset.suffix === '') {
		warn(
			'recipe.noSuffix',
			'dataset.suffix',
			{},
			'dataset.suffix is empty: targets cannot be told from originals. Write e.g. "_t" for pairs X.png and X_t.png.'
		);
	}
	if (mode === 'addift' || mode === 'multiAddift') {
		const { iterations } = passes.difference;
		if (recipe.model.family !== 'mini' && mode === 'addift' && iterations > LONG_ADDIFT) {
			const message = `passes.difference.iterations ${iterations} is long for ADDifT, which needs 30 to 100 steps and overfits after that.`;
			warn('recipe.addiftLong', 'passes.difference.iterations', { iterations }, message);
		}
		if (addift.multiplier !== 0.25) {
			const message = `addift.multiplier ${addift.multiplier} instead of 0.25: at strength 1 the result acts ${1 / addift.multiplier} times as strongly as it was trained.`;
			warn('recipe.addiftMultiplier', 'addift.multiplier', { multiplier: addift.multiplier, times: Number((1 / addift.multiplier).toPrecision(3)) }, message);
		}
	}
	for (const [where, pixels] of Object.entries({
		'resolution.width': recipe.resolution.width,
		'resolution.height': recipe.resolution.height,
		'dataset.minSide': dataset.minSide,
		'dataset.bucketStep': dataset.bucketStep
	})) {
		if (pixels % 8 !== 0) {
			const message = `${where} is ${pixels}; it must be a multiple of 8, better of 64.`;
			found.push(problem('error', 'recipe.notMultiple', where, { field: where, given: pixels, step: 8 }, message));
		}
	}
	return found;
}

/** Everything found, errors and warnings. */
export function checkRecipe(recipe: Recipe): RecipeProblem[] {
	const used = recipe.mode === 'difference' ? (['copier', 'difference'] as const) : (['difference'] as const);
	return [...used.flatMap((name) => checkPass(recipe.passes[name], `passes.${name}`, recipe.model.family, recipe.mode)), ...checkMode(recipe)];
}
