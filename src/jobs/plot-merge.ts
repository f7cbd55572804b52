/** LoRAs merged into one of a given dimension, for cells whose plot asks for it. The files of a plot travel as Blobs: references, not copies. */
import type { Gpu } from '../gpu/gpu';
import type { LoadedLora } from '../lora/load';
import type { CellPart } from '../recipe/plot-cells';
import type { PlotDimension } from '../recipe/plot';
import type { OpenModel } from './model';
import { errorProblem, ProblemError } from './problem';

export interface PlotFile {
	/** For messages. */
	name: string;
	/** Of the whole file; what cells call it by. */
	sha256: string;
	blob: Blob;
}

export function mergedLora(_gpu: Gpu, _model: OpenModel, parts: readonly (CellPart & { lora: LoadedLora })[], _dimension: PlotDimension): Promise<LoadedLora> {
	return Promise.reject(
		new ProblemError(errorProblem('plot.dimension', 'base.dimension', `${parts.length} LoRAs cannot be merged into a dimension here yet.`, { given: '' }))
	);
}
