/** Entry of the Dedicated Worker that trains: the host of `host.ts` on the browser's WebGPU, behind Comlink. */
import { createHost } from './host';
import { browserPlatform } from './platform';
import { serve } from './wire';

declare const self: DedicatedWorkerGlobalScope;

serve(createHost(browserPlatform()), self);
