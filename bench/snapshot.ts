/**
 * What a snapshot costs: packing, sealing and writing a state of a given size to disk, as `utsushi train` does it. The GPU's part (copies and their reading) runs beside
 * the training and is not in it. Built with `vite build --ssr bench/snapshot.ts`; argument: megabytes.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packValue } from '../src/formats/packed';
import { folderSlots } from '../src/storage/snapshots/node';
import { snapshotStore } from '../src/storage/snapshots/snapshots';

const megabytes = Number(process.argv[2] ?? 100);
const third = Math.round((megabytes * 1e6) / 12);
const values = Float32Array.from({ length: third }, (_, i) => Math.sin(i));
const state = { values, state: { m: new Uint8Array(values.slice().buffer), v: new Uint8Array(values.slice().buffer) } };
const folder = await mkdtemp(join(tmpdir(), 'utsushi-bench-'));
try {
	const store = snapshotStore(folderSlots(folder));
	const times: number[] = [];
	for (let round = 0; round < 5; round++) {
		const begun = performance.now();
		await store.save('job', packValue(state));
		times.push(performance.now() - begun);
	}
	times.sort((a, b) => a - b);
	const median = times[2] ?? 0;
	process.stdout.write(
		`${megabytes} MB: ${median.toFixed(0)} ms to pack, seal and write (median of 5); at most every ${((median * 50) / 1000).toFixed(1)} s\n`
	);
} finally {
	await rm(folder, { recursive: true });
}
