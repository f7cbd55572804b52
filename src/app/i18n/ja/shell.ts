/** ヘッダー・通知・共通の言葉。 */
import type { en } from '../en/index';

export const shell: (typeof en)['shell'] = {
	name: 'Utsushi',
	skip: '本文へ移動',
	rooms: { train: '学習', queue: 'キュー', plot: 'プロット', merge: 'マージ', library: 'ライブラリ', helper: 'ヘルパー', settings: '設定' },
	navigation: '画面の一覧',
	switchLanguage: 'English',
	switchLanguageLabel: 'Switch to English',
	dismiss: '閉じる',
	retry: 'もう一度',
	download: 'ダウンロード',
	loading: '読み込み中',
	pageFailed: 'この画面を読み込めませんでした',
	pageFailedHint: 'ネットワークが切れているか、Utsushiが新しいバージョンに替わりました。読み込み直してください。作ったものは失われません。',
	reload: '読み込み直す',
	offlineReady: 'オフライン対応',
	offlineReadyHint: 'ミニモデルを含め、必要なものはすべてこのブラウザに保存済みです。',
	offlineNow: 'オフライン',
	offlineNowHint: '今はネットワークにつながっていませんが、学習には影響ありません。',
	updateReady: '新しいバージョンの準備ができました。',
	updateWaits: '新しいバージョンの準備ができました。学習が終わるまで待ちます。',
	updateNow: '再読み込みして更新',
	runChip: (state, percent) => `${state} · ${percent}`,
	runChipLabel: '学習の画面へ',
	besideRun: (name) => `「${name}」を学習しています。ここで用意した学習は「キューに追加」で続けて行えます。モデルは、今の学習が終わるまで同じものを使います。`,
	besideEnded: (name) => `「${name}」の学習は終わりました。`,
	toRun: '学習の様子を見る',
	toResult: '結果を見る',
	error: 'エラー',
	warning: '注意',
	details: '詳細'
};
