/** Which pictures live previews draw, and how many: each costs as much as drawing it by hand. */
import type { PreviewSettings, Recipe } from './recipe';

export interface LivePicture {
	readonly seed: number;
	readonly strength: number;
}

const seedsOf = ({ seeds, live }: Pick<PreviewSettings, 'seeds' | 'live'>): number[] => [...new Set(live.seeds.length > 0 ? live.seeds : seeds.slice(0, 1))];

/** At the beginning: every seed without the LoRA, what all later pictures are compared with. Strength 0 never changes, so it is not drawn again. */
export function firstPictures(settings: Pick<PreviewSettings, 'seeds' | 'live'>): LivePicture[] {
	return seedsOf(settings).map((seed) => ({ seed, strength: 0 }));
}

/** While the LoRA learns. */
export function livePictures(settings: Pick<PreviewSettings, 'seeds' | 'live'>): LivePicture[] {
	const strengths = [...new Set(settings.live.strengths)].filter((strength) => strength !== 0);
	return seedsOf(settings).flatMap((seed) => strengths.map((strength) => ({ seed, strength })));
}

/** Pictures of one preview, and of all previews of these passes. */
export function countLive(
	{ preview, passes }: Pick<Recipe, 'preview' | 'passes'>,
	trained: readonly (keyof Recipe['passes'])[]
): { each: number; total: number } {
	const each = livePictures(preview).length;
	if (preview.every === 0) return { each, total: 0 };
	// The last step has the strip instead.
	const times = trained.reduce((sum, pass) => sum + Math.ceil(passes[pass].iterations / preview.every) - 1, 0);
	return { each, total: firstPictures(preview).length + each * times };
}
