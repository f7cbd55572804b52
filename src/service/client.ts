/** The app's way to a trainer in a Dedicated Worker of this page. */
import { errorProblem } from '../jobs/problem';
import { ServiceError } from './errors';
import type { TrainerClient } from './protocol';
import { connect } from './wire';

export function createWorkerClient(): TrainerClient {
	const worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module', name: 'utsushi-trainer' });
	const died = new Promise<never>((_, reject) => {
		worker.addEventListener('error', (event) => {
			event.preventDefault();
			const detail = event.message || 'its script could not be loaded';
			reject(
				new ServiceError(
					errorProblem(
						'trainer.died',
						'trainer',
						`The trainer stopped unexpectedly (${detail}). Reload the page; results already listed stay in the library.`,
						{ detail }
					)
				)
			);
		});
	});
	// A failure with no request waiting is not an unhandled one: the next request meets it.
	died.catch(() => undefined);
	return connect(worker, { onClose: () => worker.terminate(), died });
}
