/** The logs of runs on disk: for each run a file of its events and a head (JSON, written aside and renamed). Names are hashes made here; nothing from a client becomes one. */
import { appendFile, mkdir, open, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RunFiles } from '../service/run-log';

const KEY = /^[0-9a-f]{32}$/;
const HEAD = '.json';
const LOG = '.events';

/** @param path made when the first run is kept */
export function runFolder(path: string): RunFiles {
	/** What is written under one name comes one after the other. */
	const queues = new Map<string, Promise<void>>();
	const inTurn = (name: string, work: () => Promise<void>): Promise<void> => {
		const done = (queues.get(name) ?? Promise.resolve()).catch(() => undefined).then(work);
		queues.set(name, done);
		const forget = (): void => {
			if (queues.get(name) === done) queues.delete(name);
		};
		done.then(forget, forget);
		return done;
	};
	const file = (key: string, end: string): string => {
		if (!KEY.test(key)) throw new RangeError('The key of a run is a hash.');
		return join(path, key + end);
	};
	const ready = (): Promise<unknown> => mkdir(path, { recursive: true, mode: 0o700 });
	return {
		async heads() {
			const heads: { key: string; head: unknown }[] = [];
			for (const name of await readdir(path).catch(() => [])) {
				const key = name.slice(0, 32);
				if (!KEY.test(key)) continue;
				// A log without a head is work that made no LoRA, or its head was never written.
				if (name === key + LOG) heads.push({ key, head: await readHead(join(path, key + HEAD)) });
				else if (name !== key + HEAD) await rm(join(path, name), { force: true });
			}
			return heads;
		},
		saveHead: (key, head) => {
			const target = file(key, HEAD);
			const text = JSON.stringify(head);
			return inTurn(target, async () => {
				await ready();
				await writeFile(`${target}.part`, text, { mode: 0o600 });
				await rename(`${target}.part`, target);
			});
		},
		append: (key, bytes) => {
			const target = file(key, LOG);
			return inTurn(target, async () => {
				await ready();
				await appendFile(target, bytes, { mode: 0o600 });
			});
		},
		cut: (key, length) => inTurn(file(key, LOG), () => truncate(file(key, LOG), length)),
		async read(key, offset, length) {
			const handle = await open(file(key, LOG), 'r');
			try {
				const { size } = await handle.stat();
				const bytes = new Uint8Array(Math.max(0, Math.min(length, size - offset)));
				let done = 0;
				while (done < bytes.length) {
					const { bytesRead } = await handle.read(bytes, done, bytes.length - done, offset + done);
					if (bytesRead === 0) break;
					done += bytesRead;
				}
				return bytes.subarray(0, done);
			} finally {
				await handle.close();
			}
		},
		async remove(key) {
			await inTurn(file(key, LOG), () => rm(file(key, LOG), { force: true }));
			await inTurn(file(key, HEAD), () => rm(file(key, HEAD), { force: true }));
		}
	};
}

async function readHead(file: string): Promise<unknown> {
	try {
		return JSON.parse(await readFile(file, 'utf8'));
	} catch {
		return undefined;
	}
}
