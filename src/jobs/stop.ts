/** How work is ended from outside: a signal that is looked at between steps, and the error that leaves loops when it is set. */
import type { TrainingControl } from '../training/events';

export class Cancelled extends Error {
	override readonly name = 'Cancelled';

	constructor() {
		super('The work was stopped.');
	}
}

/** Throws `Cancelled` once a stop was asked for. */
export function continueUnlessStopped(control: TrainingControl): void {
	if (control.request !== null) throw new Cancelled();
}
