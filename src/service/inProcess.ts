/** The same host without a worker around it, for the command line and for tests: the client calls it directly. */
import { ServiceError, asProblem } from './errors';
import type { ReplyOf, Request, TrainerClient } from './protocol';
import type { TrainerHost } from './wire';

export function createInProcessClient(host: TrainerHost): TrainerClient {
	return {
		async request<R extends Request>(request: R): Promise<ReplyOf[R['type']]> {
			try {
				return await host.handle(request);
			} catch (error) {
				throw error instanceof ServiceError ? error : new ServiceError(asProblem(error, request.type));
			}
		},
		subscribe: (listener) => host.subscribe(listener),
		close: () => void host.close()
	};
}
