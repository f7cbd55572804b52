/** A two-level UNet of the Stable Diffusion kind, as small as it gets: every layer kind, every way an adapter can sit, a skip connection. */
import type { Adapter, GraphBuilder } from '../../../src/graph/builder';
import type { Scale, Value } from '../../../src/graph/ir';

export interface TinyOptions {
	readonly batch: number;
	readonly height: number;
	readonly width: number;
	readonly channels: number;
	/** Layers (by weight name) that get a trainable adapter. */
	readonly adapted: (name: string) => boolean;
}

export class TinyUnet {
	readonly factors: Value[] = [];
	readonly noise: Value;
	private readonly scale: Scale;

	constructor(
		private readonly b: GraphBuilder,
		private readonly o: TinyOptions
	) {
		this.scale = { factor: 0.5, scalar: b.scalar('multiplier') };
		const counter = b.input('counter', [4], 'u32');
		this.noise = b.gaussian(counter, [o.batch, o.height, o.width, 4]);
	}

	/** eps `[B, H, W, 4]` for a noised latent. */
	predict(): Value {
		const { b, o } = this;
		const c = o.channels;
		const t = b.input('t', [o.batch]);
		const context = b.input('context', [o.batch, 5, 6]);
		const latent = b.noised(b.input('x0', [1, o.height, o.width, 4]), this.noise, b.input('coef', [o.batch, 2]));
		const embedding = this.linear('time.2', b.silu(this.linear('time.0', b.sinusoid(t, c), c)), c);
		const first = this.conv('in', latent, c);
		const top = this.transformer('top', this.residual('top', [first], embedding, c), context);
		const down = this.conv('down', top, c, 2);
		const middle = this.transformer('middle', this.residual('middle', [down], embedding, 2 * c), context);
		const up = this.b.conv(b.upsample2x(middle), b.constant('up.weight', [c, 18 * c]), {
			bias: b.constant('up.bias', [c]),
			adapters: this.adapters('up', c, 18 * c)
		});
		const joined = this.residual('joined', [up, top], embedding, c);
		return this.conv('out', this.norm('out', joined, true), 4);
	}

	private adapters(name: string, n: number, k: number): Adapter[] {
		if (!this.o.adapted(name)) return [];
		const down = this.b.parameter(`${name}.down`, [2, k]);
		const up = this.b.parameter(`${name}.up`, [n, 2]);
		this.factors.push(down, up);
		return [{ down, up, scale: this.scale }];
	}

	private channels(x: Value): number {
		return x.shape[x.shape.length - 1] ?? 0;
	}

	private linear(name: string, x: Value, n: number, more: { residual?: Value; rowBias?: Value } = {}): Value {
		const k = this.channels(x);
		const weight = this.b.constant(`${name}.weight`, [n, k]);
		return this.b.linear(x, weight, { bias: this.b.constant(`${name}.bias`, [n]), adapters: this.adapters(name, n, k), ...more });
	}

	private conv(name: string, x: Value, n: number, stride: 1 | 2 = 1, more: { residual?: Value; rowBias?: Value } = {}): Value {
		const k = 9 * this.channels(x);
		const weight = this.b.constant(`${name}.weight`, [n, k]);
		return this.b.conv(x, weight, { stride, bias: this.b.constant(`${name}.bias`, [n]), adapters: this.adapters(name, n, k), ...more });
	}

	private norm(name: string, x: Value, silu: boolean): Value {
		const c = this.channels(x);
		return this.b.groupNorm(x, this.b.constant(`${name}.norm.weight`, [c]), this.b.constant(`${name}.norm.bias`, [c]), { groups: 2, eps: 1e-5, silu });
	}

	private layerNorm(name: string, x: Value): Value {
		const c = this.channels(x);
		return this.b.layerNorm(x, this.b.constant(`${name}.weight`, [c]), this.b.constant(`${name}.bias`, [c]), 1e-5);
	}

	private residual(name: string, parts: Value[], embedding: Value, n: number): Value {
		const x = parts.length > 1 ? this.b.concat(parts) : (parts[0] as Value);
		const rowBias = this.linear(`${name}.emb`, this.b.silu(embedding), n);
		const hidden = this.conv(`${name}.conv1`, this.norm(`${name}.1`, x, true), n, 1, { rowBias });
		const k = this.channels(x);
		const skip =
			k === n
				? x
				: this.b.linearParts(parts, this.b.constant(`${name}.skip.weight`, [n, k]), {
						bias: this.b.constant(`${name}.skip.bias`, [n]),
						adapters: this.adapters(`${name}.skip`, n, k)
					});
		return this.conv(`${name}.conv2`, this.norm(`${name}.2`, hidden, true), n, 1, { residual: skip });
	}

	private attend(name: string, x: Value, context: Value, residual: Value): Value {
		const c = this.channels(x);
		const layer = (which: string, from: Value) =>
			this.b.linear(from, this.b.constant(`${name}.${which}.weight`, [c, this.channels(from)]), {
				adapters: this.adapters(`${name}.${which}`, c, this.channels(from))
			});
		const attended = this.b.attention(layer('q', x), layer('k', context), layer('v', context), 2);
		return this.linear(`${name}.out`, attended, c, { residual });
	}

	private transformer(name: string, x: Value, context: Value): Value {
		const c = this.channels(x);
		let h = this.linear(`${name}.proj_in`, this.norm(`${name}.t`, x, false), c);
		const one = this.layerNorm(`${name}.norm1`, h);
		h = this.attend(`${name}.attn1`, one, one, h);
		h = this.attend(`${name}.attn2`, this.layerNorm(`${name}.norm2`, h), context, h);
		const inner = this.b.geglu(this.linear(`${name}.ff.0`, this.layerNorm(`${name}.norm3`, h), 4 * c));
		h = this.linear(`${name}.ff.2`, inner, c, { residual: h });
		return this.linear(`${name}.proj_out`, h, c, { residual: x });
	}
}
