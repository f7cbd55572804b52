/** The library of finished LoRAs in this browser. */
export const library = {
	title: 'Library',
	lead: 'LoRAs made in this browser, each with the recipe that made it.',
	empty: 'Nothing here yet',
	emptyHint: 'Every finished run puts its LoRA here by itself.',
	goTrain: 'Go to Train',
	loading: 'Reading the library…',
	failed: 'The library of this browser could not be read',
	download: 'Download',
	remove: 'Delete',
	removeName: (name: string) => `Delete ${name}`,
	others: (n: number) => (n === 1 ? 'One more file of this run' : `${n} more files of this run`),
	removeSure: (name: string) => `Delete “${name}” from this browser? This cannot be undone.`,
	removeYes: 'Delete',
	removeNo: 'Keep',
	again: 'Train again with its recipe',
	share: 'Copy recipe link',
	metadata: 'Metadata',
	noMetadata: 'This file carries no metadata.',
	strip: 'Strengths',
	count: (n: number, size: string) => (n === 1 ? `One LoRA, ${size}` : `${n} LoRAs, ${size}`)
};
