/** What Train and the shell say of the queue. */
export const queueButtons = {
	add: 'Add to queue',
	added: (n: number) => (n === 1 ? 'Added: 1 job waits.' : `Added: ${n} jobs wait.`),
	toQueue: 'To the queue',
	resting: 'The queue is not running: what waits starts only when you start it.',
	go: 'Start the queue',
	editing: (name: string) => `You are editing “${name}” of the queue.`,
	saveEdit: 'Save in the queue',
	cancelEdit: 'Cancel'
};
