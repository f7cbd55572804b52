/**
 * Every tensor of a full-size SD 1.5 or SDXL checkpoint in the original ("ldm") layout: key, shape, and how wide its random values should spread.
 * Written from the published key tables, independently of `src/diffusion`, so that the two can be held against each other.
 * A weight's spread is 1/√fan-in, which keeps activations near their size from layer to layer; norms are 1, biases 0.
 */

/** @typedef {{ name: string, shape: number[], spread: number, mean: number }} Tensor */

const FULL = { base: 320, vae: [128, 256, 512, 512], clip: { width: 768, layers: 12 }, bigG: { width: 1280, layers: 32 } };
const FAMILIES = {
	sd15: { ...FULL, mult: [1, 2, 4, 4], depth: [1, 1, 1, 0], middle: 1, context: 768, vector: 0, linear: false },
	sdxl: { ...FULL, mult: [1, 2, 4], depth: [0, 2, 10], middle: 10, context: 2048, vector: 2816, linear: true },
	// The shape of SDXL in few numbers, for tests: every kind of key, every rule, little to compute.
	tiny: {
		base: 32,
		vae: [32, 32, 64, 64],
		clip: { width: 64, layers: 3 },
		bigG: { width: 64, layers: 3 },
		mult: [1, 2, 4],
		depth: [0, 1, 2],
		middle: 2,
		context: 128,
		vector: 64 + 6 * 256,
		linear: true
	}
};

/** @typedef {typeof FAMILIES.sd15} Model */

class Keys {
	/** @type {Tensor[]} */
	tensors = [];

	/** @param {string} name @param {number[]} shape */
	weight(name, shape) {
		const fanIn = shape.slice(1).reduce((product, size) => product * size, 1);
		this.tensors.push({ name, shape, spread: 1 / Math.sqrt(fanIn), mean: 0 });
	}

	/** @param {string} name @param {number} size */
	bias(name, size) {
		this.tensors.push({ name, shape: [size], spread: 0, mean: 0 });
	}

	/** @param {string} name @param {number} size */
	norm(name, size) {
		this.tensors.push({ name: `${name}.weight`, shape: [size], spread: 0, mean: 1 });
		this.bias(`${name}.bias`, size);
	}

	/** @param {string} name @param {number} out @param {number} inside */
	linear(name, out, inside, bias = true) {
		this.weight(`${name}.weight`, [out, inside]);
		if (bias) this.bias(`${name}.bias`, out);
	}

	/** @param {string} name @param {number} out @param {number} inside @param {number} kernel */
	conv(name, out, inside, kernel) {
		this.weight(`${name}.weight`, [out, inside, kernel, kernel]);
		this.bias(`${name}.bias`, out);
	}
}

/** @param {Keys} keys @param {Model} model */
function unet(keys, { base, mult, depth, middle, context, vector, linear }) {
	const time = 4 * base;
	const root = 'model.diffusion_model.';
	/** @param {string} path @param {number} inside @param {number} out */
	const residual = (path, inside, out) => {
		keys.norm(`${path}.in_layers.0`, inside);
		keys.conv(`${path}.in_layers.2`, out, inside, 3);
		keys.linear(`${path}.emb_layers.1`, out, time);
		keys.norm(`${path}.out_layers.0`, out);
		keys.conv(`${path}.out_layers.3`, out, out, 3);
		if (inside !== out) keys.conv(`${path}.skip_connection`, out, inside, 1);
	};
	/** @param {string} path @param {number} channels @param {number} blocks */
	const transformer = (path, channels, blocks) => {
		/** @param {string} name */
		const project = (name) => (linear ? keys.linear(name, channels, channels) : keys.conv(name, channels, channels, 1));
		keys.norm(`${path}.norm`, channels);
		project(`${path}.proj_in`);
		for (let k = 0; k < blocks; k++) {
			const block = `${path}.transformer_blocks.${k}`;
			for (const { attention, width } of [
				{ attention: 'attn1', width: channels },
				{ attention: 'attn2', width: context }
			]) {
				keys.linear(`${block}.${attention}.to_q`, channels, channels, false);
				keys.linear(`${block}.${attention}.to_k`, channels, width, false);
				keys.linear(`${block}.${attention}.to_v`, channels, width, false);
				keys.linear(`${block}.${attention}.to_out.0`, channels, channels);
			}
			keys.linear(`${block}.ff.net.0.proj`, 8 * channels, channels);
			keys.linear(`${block}.ff.net.2`, channels, 4 * channels);
			for (const n of [1, 2, 3]) keys.norm(`${block}.norm${n}`, channels);
		}
		project(`${path}.proj_out`);
	};
	keys.linear(`${root}time_embed.0`, time, base);
	keys.linear(`${root}time_embed.2`, time, time);
	if (vector > 0) {
		keys.linear(`${root}label_emb.0.0`, time, vector);
		keys.linear(`${root}label_emb.0.2`, time, time);
	}
	keys.conv(`${root}input_blocks.0.0`, base, 4, 3);
	const skips = [base];
	let channels = base;
	let n = 1;
	const levels = mult.map((factor, level) => ({ width: base * factor, blocks: depth[level] ?? 0 }));
	levels.forEach(({ width, blocks }, level) => {
		for (let j = 0; j < 2; j++, n++) {
			residual(`${root}input_blocks.${n}.0`, channels, width);
			channels = width;
			if (blocks > 0) transformer(`${root}input_blocks.${n}.1`, channels, blocks);
			skips.push(channels);
		}
		if (level < mult.length - 1) {
			keys.conv(`${root}input_blocks.${n++}.0.op`, channels, channels, 3);
			skips.push(channels);
		}
	});
	residual(`${root}middle_block.0`, channels, channels);
	transformer(`${root}middle_block.1`, channels, middle);
	residual(`${root}middle_block.2`, channels, channels);
	n = 0;
	for (const [level, { width, blocks }] of [...levels.entries()].reverse()) {
		for (let j = 0; j < 3; j++, n++) {
			residual(`${root}output_blocks.${n}.0`, channels + (skips.pop() ?? 0), width);
			channels = width;
			if (blocks > 0) transformer(`${root}output_blocks.${n}.1`, channels, blocks);
			if (level > 0 && j === 2) keys.conv(`${root}output_blocks.${n}.${blocks > 0 ? 2 : 1}.conv`, channels, channels, 3);
		}
	}
	keys.norm(`${root}out.0`, base);
	keys.conv(`${root}out.2`, 4, base, 3);
}

/** @param {Keys} keys @param {number[]} widths */
function vae(keys, widths) {
	const root = 'first_stage_model.';
	const [first = 0, last = 0] = [widths[0], widths.at(-1)];
	/** @param {string} path @param {number} inside @param {number} out */
	const residual = (path, inside, out) => {
		keys.norm(`${path}.norm1`, inside);
		keys.conv(`${path}.conv1`, out, inside, 3);
		keys.norm(`${path}.norm2`, out);
		keys.conv(`${path}.conv2`, out, out, 3);
		if (inside !== out) keys.conv(`${path}.nin_shortcut`, out, inside, 1);
	};
	/** @param {string} path */
	const middle = (path) => {
		residual(`${path}.block_1`, last, last);
		keys.norm(`${path}.attn_1.norm`, last);
		for (const part of ['q', 'k', 'v', 'proj_out']) keys.conv(`${path}.attn_1.${part}`, last, last, 1);
		residual(`${path}.block_2`, last, last);
	};
	keys.conv(`${root}encoder.conv_in`, first, 3, 3);
	let channels = first;
	widths.forEach((width, level) => {
		for (const j of [0, 1]) {
			residual(`${root}encoder.down.${level}.block.${j}`, channels, width);
			channels = width;
		}
		if (level < 3) keys.conv(`${root}encoder.down.${level}.downsample.conv`, width, width, 3);
	});
	middle(`${root}encoder.mid`);
	keys.norm(`${root}encoder.norm_out`, last);
	keys.conv(`${root}encoder.conv_out`, 8, last, 3);
	keys.conv(`${root}quant_conv`, 8, 8, 1);
	keys.conv(`${root}post_quant_conv`, 4, 4, 1);
	keys.conv(`${root}decoder.conv_in`, last, 4, 3);
	middle(`${root}decoder.mid`);
	channels = last;
	for (const [level, width] of [...widths.entries()].reverse()) {
		for (const j of [0, 1, 2]) {
			residual(`${root}decoder.up.${level}.block.${j}`, channels, width);
			channels = width;
		}
		if (level > 0) keys.conv(`${root}decoder.up.${level}.upsample.conv`, channels, channels, 3);
	}
	keys.norm(`${root}decoder.norm_out`, first);
	keys.conv(`${root}decoder.conv_out`, 3, first, 3);
}

/** @param {Keys} keys @param {string} root @param {{ width: number, layers: number }} size */
function clipL(keys, root, { width, layers }) {
	keys.weight(`${root}embeddings.token_embedding.weight`, [49408, width]);
	keys.weight(`${root}embeddings.position_embedding.weight`, [77, width]);
	for (let layer = 0; layer < layers; layer++) {
		const path = `${root}encoder.layers.${layer}`;
		keys.norm(`${path}.layer_norm1`, width);
		for (const part of ['q', 'k', 'v', 'out']) keys.linear(`${path}.self_attn.${part}_proj`, width, width);
		keys.norm(`${path}.layer_norm2`, width);
		keys.linear(`${path}.mlp.fc1`, 4 * width, width);
		keys.linear(`${path}.mlp.fc2`, width, 4 * width);
	}
	keys.norm(`${root}final_layer_norm`, width);
}

/** @param {Keys} keys @param {string} root @param {{ width: number, layers: number }} size */
function bigG(keys, root, { width, layers }) {
	keys.weight(`${root}token_embedding.weight`, [49408, width]);
	keys.weight(`${root}positional_embedding`, [77, width]);
	for (let layer = 0; layer < layers; layer++) {
		const path = `${root}transformer.resblocks.${layer}`;
		keys.norm(`${path}.ln_1`, width);
		keys.weight(`${path}.attn.in_proj_weight`, [3 * width, width]);
		keys.bias(`${path}.attn.in_proj_bias`, 3 * width);
		keys.linear(`${path}.attn.out_proj`, width, width);
		keys.norm(`${path}.ln_2`, width);
		keys.linear(`${path}.mlp.c_fc`, 4 * width, width);
		keys.linear(`${path}.mlp.c_proj`, width, 4 * width);
	}
	keys.norm(`${root}ln_final`, width);
	keys.weight(`${root}text_projection`, [width, width]);
	keys.tensors.push({ name: `${root}logit_scale`, shape: [], spread: 0, mean: 4.6 });
}

/** @param {'sd15' | 'sdxl' | 'tiny'} family @returns {Tensor[]} */
export function checkpointTensors(family) {
	const model = FAMILIES[family];
	if (!model) throw new Error(`There is no family "${family}": sd15, sdxl or tiny.`);
	const keys = new Keys();
	unet(keys, model);
	vae(keys, model.vae);
	if (family === 'sd15') clipL(keys, 'cond_stage_model.transformer.text_model.', model.clip);
	else {
		clipL(keys, 'conditioner.embedders.0.transformer.text_model.', model.clip);
		bigG(keys, 'conditioner.embedders.1.model.', model.bigG);
	}
	// Norms and biases that do nothing would hide mistakes in them.
	if (family === 'tiny') return keys.tensors.map((tensor) => (tensor.spread === 0 && tensor.shape.length > 0 ? { ...tensor, spread: 0.1 } : tensor));
	return keys.tensors;
}
