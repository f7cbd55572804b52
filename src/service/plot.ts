/**
 * Plots behind the protocol: a session (program, LoRAs, contexts, merges) is kept between requests, so that the next cells of the same plot,
 * or the next position of a merge's slider, start without compiling. Whoever needs the memory lets it go with `release`.
 */
import type { Gpu } from '../gpu/gpu';
import type { Conditioner } from '../jobs/conditioner';
import type { OpenModel } from '../jobs/model';
import { PlotSession, type PlotOutcome } from '../jobs/plot';
import type { CellSettings } from '../recipe/plot-cells';
import { ServiceError } from './errors';
import type { ActiveRun } from './runs';

export interface PlotRequest {
	modelId: string;
	/** What to draw, in any order; every picture comes as a `plotCell` event with its index here. */
	cells: CellSettings[];
	/** Every LoRA the cells name. A Blob travels as a reference. */
	loras: { name: string; sha256: string; blob: Blob }[];
	/** `v`: one of the LoRAs was trained for velocity, so the model predicts it. */
	prediction?: 'v' | undefined;
}

export class Plots {
	#session: PlotSession | undefined;

	async draw(
		gpu: Gpu,
		model: OpenModel,
		openConditioner: () => Promise<Conditioner>,
		active: ActiveRun,
		{ cells, loras, prediction }: PlotRequest
	): Promise<PlotOutcome> {
		if (this.#session?.gpu !== gpu || this.#session.model !== model) {
			await this.release();
			this.#session = new PlotSession(gpu, model, openConditioner);
		}
		const session = this.#session;
		const { control, emit } = active;
		const problem = session.check({ cells, loras });
		if (problem) throw new ServiceError(problem);
		try {
			return await session.draw({ cells, loras, prediction, control, emit });
		} catch (error) {
			// What failed half way (memory, a lost device) is not used again.
			await this.release();
			throw error;
		}
	}

	async release(): Promise<void> {
		const session = this.#session;
		this.#session = undefined;
		await session?.close();
	}
}
