/** A chosen folder in the browser: pictures decoded, captions found beside them by name. */
import type { TrainRequest } from '../../service/protocol';
import { loadPicture } from '../picture/load';

export type FolderPicture = NonNullable<TrainRequest['pictures']>[number];

const PICTURE = /\.(png|jpe?g|webp)$/i;
/** In this order: `.txt` comes first. */
const CAPTIONS = ['.txt', '.caption'] as const;

const stemOf = (name: string): string => name.replace(/\.[^.]+$/, '');

/** Pictures in the order of their names. Throws what `loadPicture` throws, at the first bad one. */
export async function readFolderFiles(files: readonly File[]): Promise<FolderPicture[]> {
	const byName = new Map(files.map((file) => [file.name, file]));
	const pictures = files.filter(({ name }) => PICTURE.test(name) && !name.startsWith('.')).sort((a, b) => (a.name < b.name ? -1 : 1));
	const read: FolderPicture[] = [];
	for (const file of pictures) {
		const { picture } = await loadPicture(file, file.name, 'original');
		const caption = CAPTIONS.map((ending) => byName.get(stemOf(file.name) + ending)).find((found) => found !== undefined);
		read.push({ name: file.name, picture, ...(caption ? { text: await caption.text() } : {}) });
	}
	return read;
}

/** How many pictures have a target: the same name with `suffix` before the ending. */
export function pairsIn(pictures: readonly FolderPicture[], suffix: string): number {
	if (suffix === '') return 0;
	const names = new Set(pictures.map(({ name }) => name));
	return pictures.filter(({ name }) => names.has(name.replace(/(\.[^.]+)$/, (ending) => suffix + ending))).length;
}
