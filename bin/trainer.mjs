// Entry of the helper's trainer threads (src/helper/threads.ts): the same build as the command line's, on a thread of its own.
const { trainerThread } = await import(new URL('../dist/cli/cli.js', import.meta.url).href);
await trainerThread();
