/**
 * What a gradient rule sees. A rule gets the gradient of an operation's result and gives gradients to the operands that want one;
 * what several uses give to the same value is summed when the value's own operation is reached.
 */
import type { Emitter } from '../emitter';
import type { Scale, Value } from '../ir';

export interface GradientContext {
	readonly emitter: Emitter;
	/** d(lossScale · mean loss) is what flows. */
	readonly lossScale: Scale;
	/** Whether some parameter that is asked for can be reached through this value. */
	wants(value: Value): boolean;
	/** A fresh value for a gradient of `of`: same shape; f32 for a parameter, else stored like the value itself. */
	fresh(of: Value): Value;
	give(value: Value, gradient: Value): void;
	/** The gradient of channels `[start, start + C)` of a value. */
	giveChannels(value: Value, start: number, gradient: Value): void;
	/** For operands that are frozen by design: an error if a parameter hides behind them. */
	refuse(value: Value, why: string): void;
}
