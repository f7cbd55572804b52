/** What a pass will probably do, and the learning-rate finder. Loaded with that part of the form. */
export const judgement = {
	advice: {
		collapse: (times: string, rate: string) =>
			`This rate acts ${times} times as strongly as one that is known to work: the pass will probably collapse into noise. Try ${rate}.`,
		risky: (times: string, rate: string) => `This rate acts ${times} times as strongly as usual; it may hold or break. ${rate} is usual.`,
		noEffect: (times: string, rate: string, steps: string) =>
			`No effect to be expected: with this rate, alpha and number of steps the weights can go only ${times} of the usual way. Raise the rate towards ${rate}, or the steps towards ${steps}.`,
		weak: (times: string, rate: string, steps: string) =>
			`Probably too weak: ${times} of the usual way. Raise the rate towards ${rate}, or the steps towards ${steps}.`,
		vessel: (rank: string) =>
			`Steps are drops of water, the rank is the vessel: a rank this large (${rank} is usual) needs more steps for the same effect. Raise the steps, or lower the rank.`,
		overflow: (times: string) =>
			`Far more steps than needed (${times} times the usual way): style and background will come along. Save on the way and pick an earlier step.`
	},
	guard: 'When training goes wrong',
	guards: { rollback: 'Go back, halve the rate, go on', stop: 'Stop with the last good network', off: 'Do nothing' },
	guardHint: 'Watches loss, weights and gradients. A healthy run is not changed by it in any bit; it keeps two copies of the LoRA on the GPU.',
	stopWhenConverged: 'End a pass when it has converged',
	stopHint: 'Saves time when further steps change little. Off: every pass makes all its steps.',
	find: 'Find the learning rate…',
	title: 'Learning-rate finder',
	lead: 'A throw-away network is trained for 80 steps while the rate grows from next to nothing until it breaks. Your run is not touched.',
	withoutCopier: 'The second pass is tried without its copier, which does not exist yet.',
	ownRate: 'This optimizer finds its own rate; leave it at 1.',
	pass: 'Pass',
	start: 'Start',
	stop: 'Stop',
	close: 'Close',
	use: (rate: string) => `Use ${rate}`,
	busy: 'Trying…',
	noPictures: 'Choose both pictures first.',
	chart: (points: string, rate: string, value: string) => `${points} steps tried, up to the rate ${rate}; the loss there is ${value} times what it was.`,
	axis: 'Loss by what it was before, against the learning rate',
	broke: (at: string, rate: string) => `The network breaks at about ${at}. ${rate}, an eighth of it, learns fast and stays clear of that edge.`,
	lowest: (rate: string) => `It never broke. The loss was lowest at about ${rate}.`,
	nothing: 'The loss never fell, whatever the rate. Check the pictures, the blocks and alpha.',
	stopped: 'Stopped before anything could be said.'
};
