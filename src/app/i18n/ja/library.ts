/** このブラウザで作ったLoRAの一覧。 */
import type { en } from '../en/index';

export const library: (typeof en)['library'] = {
	title: 'ライブラリ',
	lead: 'このブラウザで作ったLoRAと、それぞれのレシピです。',
	empty: 'まだ何もありません',
	emptyHint: '学習が終わると、LoRAが自動でここに入ります。',
	goTrain: '学習へ',
	loading: 'ライブラリを読み込み中…',
	failed: 'このブラウザのライブラリを読めませんでした',
	download: 'ダウンロード',
	remove: '削除',
	removeName: (name) => `${name} を削除`,
	others: (n) => `この学習のほかのファイル ${n} 個`,
	removeSure: (name) => `「${name}」をこのブラウザから削除しますか？元に戻せません。`,
	removeYes: '削除する',
	removeNo: '残す',
	again: 'このレシピでもう一度学習',
	share: 'レシピのリンクをコピー',
	metadata: 'メタデータ',
	noMetadata: 'このファイルにはメタデータがありません。',
	strip: '強さ',
	count: (n, size) => `LoRA ${n} 個、${size}`
};
