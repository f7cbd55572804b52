/**
 * PyTorch's CPU `randn`, so that a seed gives here the noise it gives there.
 * - Mersenne Twister MT19937 (Matsumoto and Nishimura 1998), seeded with the low 32 bits.
 * - From 16 numbers on: uniforms of 24 bits; in blocks of 16 the first eight are radii (1 − u) and the last eight angles; what is left over
 *   at the end is covered by drawing the last 16 numbers afresh.
 * - Below 16: doubles of 53 bits in pairs (angle, radius), the second of a pair kept for the next call.
 * Single-precision logarithms and cosines differ between processors by about 1e-7, so equality is up to that.
 */

const N = 624;
const M = 397;

export class TorchGenerator {
	readonly #state = new Uint32Array(N);
	#at = N;
	#kept: number | undefined;

	constructor(seed: number) {
		const state = this.#state;
		state[0] = seed >>> 0;
		for (let i = 1; i < N; i++) {
			const before = state[i - 1] ?? 0;
			state[i] = Math.imul(1812433253, before ^ (before >>> 30)) + i;
		}
	}

	/** n standard normal numbers, as `torch.randn(n, generator=self)`. */
	normal(n: number): Float32Array {
		if (n < 16) return Float32Array.from({ length: n }, () => this.#normalDouble());
		const out = Float32Array.from({ length: n }, () => this.#uniform24());
		for (let i = 0; i + 16 <= n; i += 16) boxMuller(out.subarray(i, i + 16));
		if (n % 16) {
			const tail = out.subarray(n - 16);
			for (let i = 0; i < 16; i++) tail[i] = this.#uniform24();
			boxMuller(tail);
		}
		return out;
	}

	#normalDouble(): number {
		if (this.#kept !== undefined) {
			const kept = this.#kept;
			this.#kept = undefined;
			return kept;
		}
		const angle = 2 * Math.PI * this.#uniform53();
		const radius = Math.sqrt(-2 * Math.log1p(-this.#uniform53()));
		this.#kept = radius * Math.sin(angle);
		return radius * Math.cos(angle);
	}

	#uniform24(): number {
		return (this.#word() & 0xffffff) / 2 ** 24;
	}

	/** 53 bits of two words, the first one on top. */
	#uniform53(): number {
		const high = this.#word() & 0x1fffff;
		return (high * 2 ** 32 + this.#word()) / 2 ** 53;
	}

	#word(): number {
		if (this.#at === N) this.#refill();
		let y = this.#state[this.#at++] ?? 0;
		y ^= y >>> 11;
		y ^= (y << 7) & 0x9d2c5680;
		y ^= (y << 15) & 0xefc60000;
		return (y ^ (y >>> 18)) >>> 0;
	}

	#refill(): void {
		const state = this.#state;
		for (let i = 0; i < N; i++) {
			const y = ((state[i] ?? 0) & 0x80000000) | ((state[(i + 1) % N] ?? 0) & 0x7fffffff);
			state[i] = (state[(i + M) % N] ?? 0) ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
		}
		this.#at = 0;
	}
}

/** Sixteen uniforms to sixteen normals, in place. */
function boxMuller(block: Float32Array): void {
	for (let j = 0; j < 8; j++) {
		const radius = Math.sqrt(-2 * Math.log(1 - (block[j] ?? 0)));
		const angle = 2 * Math.PI * (block[j + 8] ?? 0);
		block[j] = radius * Math.cos(angle);
		block[j + 8] = radius * Math.sin(angle);
	}
}
