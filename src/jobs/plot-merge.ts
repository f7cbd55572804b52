/** LoRAs merged into one of a given dimension, for cells whose plot asks for it. The files of a plot travel as Blobs: references, not copies. */
import type { LoadedLora } from '../lora/load';
import { mergeLoaded } from '../lora/merge-loaded';
import type { CellPart } from '../recipe/plot-cells';
import type { PlotDimension } from '../recipe/plot';
import type { OpenModel } from './model';

export interface PlotFile {
	/** For messages. */
	name: string;
	/** Of the whole file; what cells call it by. */
	sha256: string;
	blob: Blob;
}

export function mergedLora(model: OpenModel, parts: readonly (CellPart & { lora: LoadedLora })[], dimension: PlotDimension): Promise<LoadedLora> {
	return mergeLoaded(parts, model.checkpoint.config.family, dimension);
}
