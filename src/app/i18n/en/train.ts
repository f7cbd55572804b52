/** The Train room before a run: model, pair, start. */
export const train = {
	title: 'Train',
	lead: 'Two pictures in, a small LoRA of their difference out. Nothing leaves your computer.',
	model: {
		title: 'Model',
		mini: 'Mini model',
		miniHint: 'Simple anime faces at 128 px. A run takes minutes.',
		own: 'Your own checkpoint',
		ownHint: 'SD 1.5 or SDXL, .safetensors. Read in place, never uploaded.',
		choose: 'Choose file',
		drop: 'or drop it here',
		other: 'Other file',
		families: { mini: 'Mini (SD 1.5 layout)', sd15: 'Stable Diffusion 1.5', sdxl: 'SDXL' },
		mismatch: (family: string, name: string) =>
			`This recipe is for ${family}${name ? ` (${name})` : ''}. Choose such a model, or press a model above to take its own settings.`,
		opening: 'Opening…',
		download: 'Fetching from this site',
		ready: 'Ready',
		notOpened: 'Included',
		facts: (family: string, parameters: string, size: string) => `${family} · ${parameters} parameters in the UNet · ${size}`,
		modules: (linear: number, conv: number) => `${linear} places for a LoRA, ${conv} with convolutions · `,
		resolution: (pixels: number) => `trained at ${pixels} px`,
		vPrediction: ' · v-prediction'
	},
	pair: {
		title: 'Pair',
		original: 'Original',
		target: 'Target',
		views: { side: 'Side by side', compare: 'Compare', difference: 'Difference' },
		viewLabel: 'How to show the pair',
		compareLabel: 'Share of the original that is shown',
		sampleView: 'Facing',
		directions: { front: 'Front', left: 'Left', right: 'Right' },
		sampleMouth: 'Mouth',
		mouths: { a: 'a', i: 'i', u: 'u', e: 'e', o: 'o' },
		sampleName: (direction: string, mouth: string) => `${direction}, mouth “${mouth}”`,
		choose: 'Choose',
		chooseOriginal: 'Choose the original picture',
		chooseTarget: 'Choose the target picture',
		drop: 'Drop a picture here or choose one',
		swap: 'Swap',
		swapLabel: 'Swap original and target',
		size: (width: number, height: number) => `${width} × ${height} px`,
		same: 'The two pictures are identical: there is nothing to learn.',
		differs: (share: string) => `${share} of the picture differs.`,
		differsWide: (share: string) => `${share} of the picture differs. Everything that differs is learnt, not only what you mean: keep the rest equal.`,
		heatText: (share: string, left: string, top: string, right: string, bottom: string) =>
			`${share} of the picture differs, between ${left} and ${right} from the left and ${top} and ${bottom} from the top.`,
		fit: (width: number, height: number) => `Crop and resize both to ${width} × ${height}`,
		fitted: (width: number, height: number) => `Both pictures were cropped and resized to ${width} × ${height}.`,
		flatten: 'Put both on white',
		reading: 'Reading picture'
	},
	start: {
		title: 'Start',
		start: 'Start training',
		opening: 'Opening the model…',
		name: 'Name of the LoRA',
		memory: 'GPU memory',
		memoryFirst: 'planned with the model open',
		memoryKinds: 'What takes it',
		planning: 'Planning…',
		kinds: { weights: 'Model', activations: 'Activations', factors: 'LoRA', optimizer: 'Optimizer', decoder: 'Decoder of previews', staging: 'Transfer' },
		encoding: 'Encoding the pictures',
		strip: 'Pictures at the end',
		inTurn: 'These come one after the other: the run takes the largest, not their sum.',
		previewsOn: {
			gpu: 'Live previews are decoded on the GPU, in the memory of the activations while training waits.',
			cpu: 'Live previews are decoded by the CPU.'
		},
		again: (percent: number) => `To save memory, ${percent} % of the work is done twice. The result is the same.`,
		passMemory: (pass: string, total: string) => `${pass}: ${total}`,
		file: 'File',
		time: 'Time',
		timeUnknown: 'measured at the start',
		timeAbout: (time: string) => `about ${time}, as measured last time`,
		steps: 'Steps',
		dispatches: (n: string) => `${n} GPU commands per step`,
		see: (n: number) => (n === 1 ? 'One thing to fix first' : `${n} things to fix first`)
	},
	gpu: {
		missing: 'This browser cannot reach your GPU',
		missingLead: 'Utsushi trains with WebGPU, which is missing or switched off here.',
		steps: {
			chrome:
				'Chrome or Edge 121 or later on Windows, macOS, ChromeOS or Android has it switched on. Update the browser, then check that “Use graphics acceleration when available” is on in its settings under System.',
			linux: 'Chrome on Linux: open chrome://flags, enable “Unsafe WebGPU Support” and “Vulkan”, restart the browser.',
			safari: 'Safari 26 or later on macOS, iOS and iPadOS has it switched on.',
			firefox: 'Firefox 141 or later on Windows and 145 or later on macOS with Apple silicon has it; elsewhere set dom.webgpu.enabled to true in about:config.'
		},
		noAdapter: 'WebGPU is there, but no graphics adapter answered',
		noAdapterLead: 'The driver may be too old or on the browser’s block list. Update it, look at chrome://gpu, or restart the browser after a driver crash.',
		insecure: 'WebGPU needs a secure page. Open this app over https or from 127.0.0.1.',
		stillUsable: 'You can still look around, open recipes from links and use the library.',
		software: 'This is a software adapter: the CPU computes everything. It works, but takes many times longer.'
	},
	link: {
		opened: 'A recipe was opened from a link.',
		bad: 'The recipe in this link could not be opened'
	}
};
