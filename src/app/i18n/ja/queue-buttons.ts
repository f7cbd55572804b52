/** 学習の画面とヘッダーに出る、キューについての言葉。 */
import type { en } from '../en/index';

export const queueButtons: (typeof en)['queueButtons'] = {
	add: 'キューに追加',
	added: (n) => `追加しました（待機 ${n} 件）。`,
	toQueue: 'キューへ',
	resting: 'キューは動いていません。開始するまで、待機中のものは学習されません。',
	go: 'キューを開始',
	editing: (name) => `キューの「${name}」を編集しています。`,
	saveEdit: 'キューに保存',
	cancelEdit: '編集をやめる'
};
