/** Which job of the queue has its settings open in Train. Apart from the queue itself, whose code is loaded when it is first used. */
import type { ModelSource } from '../../service/protocol';

class Editing {
	/** `source`: the model that was chosen when the settings were opened; the job keeps its own unless another is chosen. */
	job = $state.raw<{ id: string; name: string; source: ModelSource } | null>(null);
}

export const editing = new Editing();
