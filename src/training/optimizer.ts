/** The recipe's optimizer settings as the kernels take them. */
import type { createOptimizer } from '../kernels/optimizer';
import type { OptimizerSettings } from '../recipe/recipe';

export function kernelSettings(settings: OptimizerSettings): Parameters<typeof createOptimizer>[2] {
	const { kind, beta1, beta2, weightDecay } = settings;
	return { kind, betas: [beta1, beta2], weightDecay, ...(kind === 'adamw' ? { epsilon: settings.epsilon } : {}) };
}
