/**
 * Strength baked into a file: √q on each of up and down, so that the stored change is q times the trained one and alpha stays as it is.
 * LoHa modules are left alone, as in TrainTrain.
 * Source: the reference's rules for `network_strength`. (Not q on both, which would be q² times, and not q on alpha.)
 */
import type { Factors } from './init';
import type { NetworkModule } from './modules';

/** @param strength above 0; 1 gives the modules as they are */
export function bakeStrength<T extends NetworkModule & Factors>(modules: readonly T[], strength: number): readonly T[] {
	if (strength === 1) return modules;
	const root = Math.sqrt(strength);
	const grown = (data: Float32Array): Float32Array => data.map((x) => x * root);
	return modules.map((m) => (m.loha ? m : { ...m, down: grown(m.down), up: grown(m.up) }));
}
