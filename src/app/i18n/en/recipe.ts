/** The recipe form: presets, fields of both passes with what each does, blocks. */
export const recipe = {
	title: 'Recipe',
	presets: 'Presets',
	custom: 'Your own settings',
	customHint: 'Changed from the presets above.',
	passes: { copier: 'Copier', difference: 'Difference' },
	passHints: {
		copier: 'Pass 1 learns to draw the original, whatever the noise.',
		difference: 'Pass 2 learns only what turns the original into the target. This is the result.'
	},
	summary: (rank: string, rates: string, steps: string) => `rank ${rank} · ${rates} · ${steps} steps`,
	rateWord: 'rate',
	settings: 'Settings of both passes',
	advanced: 'More settings',
	common: 'Prompts, previews, files',
	fields: {
		rank: { label: 'Rank', hint: 'How much the LoRA can hold. A larger one learns more and leaks more style and background.' },
		alpha: { label: 'Alpha', hint: 'The effect is multiplied by alpha ÷ rank: a smaller alpha makes the same rate act more slowly.' },
		iterations: { label: 'Iterations', hint: 'A larger rank needs more steps for the same effect; too many overdo it.' },
		learningRate: { label: 'Learning rate', hint: 'How far each step goes. Too high collapses, too low changes nothing visible.' },
		batch: { label: 'Batch', hint: 'Noises per step. A larger one is steadier, slower, takes more memory, and stands a higher rate.' },
		optimizer: { label: 'Optimizer', hint: 'How gradients become steps. Each wants a rate of its own.' },
		schedule: { label: 'Schedule', hint: 'How the learning rate moves over the run; cosine falls to 0 so that the end is calm.' },
		convRank: { label: 'Conv rank', hint: 'Rank of the 3×3 convolutions. 0: they are left alone, the file stays small.' },
		convAlpha: { label: 'Conv alpha', hint: 'Like alpha, for the convolutions.' },
		seed: { label: 'Seed', hint: 'The same seed and settings give the same LoRA on the same GPU. −1: drawn at the start.' },
		minSnrGamma: { label: 'Min-SNR γ', hint: 'Weakens easy, nearly noise-free steps. 5 is usual, 0 turns it off.' },
		timestepMin: { label: 'Timesteps from', hint: 'Low timesteps decide details, high ones the layout.' },
		timestepMax: { label: 'Timesteps to', hint: 'The end is not included; 1000 is everything.' },
		loss: { label: 'Loss', hint: 'MSE is usual; L1 and smooth L1 care less about single large errors.' },
		blocks: { label: 'Blocks', hint: 'Which parts of the UNet take part. Fewer blocks aim better and have less effect.' }
	},
	hints: {
		scale: (factor: string) => `Effect × ${factor} (alpha ÷ rank)`,
		rateAtBatch: (rate: string, batch: number) => `Usual for batch ${batch}: up to about ${rate}`,
		effectiveRate: (rate: string) => `Acts like ${rate} at alpha = rank`
	},
	optimizers: {
		lion: 'Lion',
		adamw: 'AdamW',
		adam: 'Adam',
		sgdNesterov: 'SGD (Nesterov)',
		adafactor: 'Adafactor',
		came: 'CAME',
		prodigy: 'Prodigy',
		dAdaptAdam: 'D-Adapt Adam',
		dAdaptLion: 'D-Adapt Lion',
		scheduleFreeAdamW: 'AdamW schedule-free',
		tiger: 'Tiger'
	},
	schedules: {
		cosine: 'Cosine',
		constant: 'Constant',
		linear: 'Linear',
		cosineAnnealing: 'Cosine annealing',
		cosineRestarts: 'Cosine, with restarts',
		cosineWarmRestarts: 'Cosine annealing, with restarts',
		polynomial: 'Polynomial',
		exponential: 'Exponential',
		step: 'Steps',
		multiStep: 'Steps at given points',
		piecewise: 'Piecewise constant',
		plateau: 'When the loss stalls',
		cyclic: 'Cyclic',
		oneCycle: 'One cycle'
	},
	losses: { mse: 'MSE', l1: 'L1', smoothL1: 'Smooth L1' },
	blockGroups: { in: 'In', middle: 'Middle', out: 'Out' },
	blockGroupHints: { in: 'layout', middle: 'subject', out: 'details and colour' },
	blockCount: (n: number, all: number) => `${n} of ${all}`,
	allBlocks: 'All',
	noBlocks: 'None',
	blockOf: (pass: string, block: string) => `${pass}: ${block}`,
	model: {
		vae: 'VAE',
		vaeOwn: 'the model’s own',
		vaeChoose: 'Another VAE',
		vaeUseOwn: 'Use the model’s own',
		vaeAgain: (name: string) => `${name} again`,
		vaeHint:
			'Turns pictures into what the model sees, and back. Only when the model’s page asks for a separate file (.safetensors). SD 1.5 and SDXL files look alike: take one that was made for this kind of model. It is used for training, pictures and plots.',
		prediction: 'The model predicts',
		predictions: { epsilon: 'noise (most models)', v: 'velocity (v-prediction)' },
		predictionHint: 'Models that say so in their file are recognised. Choose velocity only when the model’s page says v-prediction.',
		sizes: 'Sizes told to SDXL',
		sizeUnits: { pixels: 'pixels', latents: 'eighths, as TrainTrain' },
		sizesHint:
			'SDXL is told how large each picture is, how it was cropped and how large it should be. Pixels is what WebUI tells it when drawing. Eighths only repeat what TrainTrain trained: pictures then count as tiny.',
		base: 'Model on the GPU',
		bases: { f16: 'as stored (16 or 32 bit)', int8: '11 bit, seven tenths of the memory' },
		baseHint:
			'11 bit keeps large matrices in whole numbers with a scale for every 32, about 0.07 % off: SDXL then takes 3.6 GB instead of 5.1. Choose it when the run does not fit; the LoRA works with the 16-bit model too. Not for LoHa.'
	},
	prompts: {
		original: 'Prompt of the original',
		target: 'Prompt of the target',
		hint: 'Leave both empty for a LoRA that needs no trigger word.'
	},
	preview: {
		prompt: 'Preview prompt',
		negative: 'Negative prompt',
		seeds: 'Preview seeds',
		strengths: 'Strengths',
		steps: 'Sampling steps',
		cfg: 'Guidance (CFG)',
		sampler: 'Sampler',
		every: 'Preview every',
		everyHint: '0: no live preview. Each one costs the time of a picture.',
		listHint: 'Separate numbers by commas.'
	},
	samplers: { ddim: 'DDIM', euler_a: 'Euler a', dpmpp_2m: 'DPM++ 2M Karras' },
	saving: {
		every: 'Save every',
		everyHint: 'Intermediate files of pass 2, to look back at. 0: only the result.',
		snapshots: 'Snapshot every',
		snapshotsHint:
			'Steps after which a run can be taken up again if it is interrupted; also once a minute. 0: only when the page is hidden or the run is paused.',
		precision: 'File precision',
		precisions: { f16: '16 bit', f32: '32 bit' },
		keepCopier: 'Also keep the copier as a file'
	},
	probe: { every: 'Probe every', hint: 'Measures the loss at fixed noise, the steadiest sign of progress. 0: off.' }
};
