/** Measurements of this computer's GPUs, as a JSON file among what Utsushi keeps for its owner: key → table. */
import type { TuningHome } from '../service/tuning';
import { configFolder, readConfigFile, writeConfigFile } from './configFolder';

const FILE = 'tuning.json';
/** Old drivers leave their tables behind. */
const MOST = 20;

export function tuningFile(platform: string, folder = configFolder()): TuningHome {
	const all = async (): Promise<Record<string, string>> => {
		const content = await readConfigFile(folder, FILE);
		if (typeof content !== 'object' || content === null) return {};
		return Object.fromEntries(Object.entries(content).filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
	};
	return {
		platform,
		cache: {
			read: async (key) => (await all())[key],
			write: async (key, text) => {
				const { [key]: _, ...others } = await all();
				await writeConfigFile(folder, FILE, Object.fromEntries([...Object.entries(others).slice(1 - MOST), [key, text]]));
			}
		}
	};
}
