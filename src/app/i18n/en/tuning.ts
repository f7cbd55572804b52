/** Settings: the measured kernels. */
export const tuning = {
	title: 'Speed of products',
	hint: 'Training is mostly matrix products. Utsushi knows several ways to cut each into pieces and chooses by a rule; measuring tries them all on this GPU and keeps the quickest. Results of training stay the same up to rounding.',
	byRule: 'Not measured on this GPU yet; the rule chooses.',
	product: 'Product',
	size: 'Rows × columns × sum',
	chosen: 'Quickest',
	rate: 'Rate',
	gain: 'Against the rule',
	forms: {
		'rows nk': 'linear layer',
		'rows kn': 'gradient of a linear layer',
		'cols kn': 'gradient of a LoRA factor',
		'conv nk': 'convolution',
		'convTransposed convWeightTransposed': 'gradient of a convolution'
	},
	tflops: (rate: string) => `${rate} TFLOP/s`,
	gflops: (rate: string) => `${rate} GFLOP/s`,
	took: (seconds: string) => `Measured in ${seconds} seconds; remembered for this GPU, driver or browser, and version.`,
	measure: 'Measure (about 10 seconds)',
	again: 'Measure again (about 10 seconds)',
	measuring: 'Measuring…',
	wait: 'The screen may stutter meanwhile. Training cannot run at the same time.'
};
