/** 問題の説明(日本語)。何が問題で、どうすればよいか。キーは Problem.code。 */
import type { Problem } from '../../../service/protocol';
import type { ProblemTexts } from '../problems';
import { fileProblemsJa } from './file-problems';
import { inputProblemsJa } from './input-problems';
import { labProblemsJa } from './lab-problems';
import { memoryProblemsJa } from './memory-problems';
import { plotProblemsJa } from './plot-problems';
import { queueProblemsJa } from './queue-problems';
import { recipeProblemsJa } from './recipe-problems';
import { socketProblemsJa } from './socket-problems';
import { shelfProblemsJa } from './shelf-problems';

const which = (v: Problem['values']): string => (v['which'] === 'original' ? '元の画像' : '目標の画像');
const at = (v: Problem['values'], key: string): string => String(v[key] ?? '');

export const problemsJa: ProblemTexts = {
	...fileProblemsJa,
	...labProblemsJa,
	...inputProblemsJa,
	...memoryProblemsJa,
	...plotProblemsJa,
	...queueProblemsJa,
	...recipeProblemsJa,
	...socketProblemsJa,
	...shelfProblemsJa,
	'picture.empty': (v) => `${at(v, 'name')} は空（0バイト）です。画像を選び直してください。`,
	'picture.unknown': (v) => `${at(v, 'name')} は読めない種類のファイルです。PNG・JPEG・WebP を使ってください。`,
	'picture.animated': (v) => `${at(v, 'name')} はアニメーションです。使いたい1コマをPNGで保存してください。`,
	'picture.tooLarge': (v) =>
		`${at(v, 'name')} は ${at(v, 'width')} × ${at(v, 'height')} px あります。先に縮小してください（読めるのは一辺 ${at(v, 'limit')} px まで、モデルが使うのは512か1024です）。`,
	'picture.damaged': (v) => `${at(v, 'name')} を開けませんでした。壊れているか途中で切れています。PNGで保存し直してください。`,
	'picture.sampleMissing': (v) => `サンプル ${at(v, 'name')} を読めませんでした。一度オンラインで再読み込みしてください。`,
	'pair.sizes': (v) =>
		`元の画像は ${at(v, 'width')} × ${at(v, 'height')}、目標の画像は ${at(v, 'width2')} × ${at(v, 'height2')} です。同じ大きさにしてください。`,
	'pair.multiple': (v) => `${which(v)}は ${at(v, 'width')} × ${at(v, 'height')} px です。縦横とも ${at(v, 'step')} の倍数にしてください。`,
	'pair.alpha': (v) => `${which(v)}に透明な部分があります。モデルは透明を扱えないので、背景を塗ってください。`,
	'pair.large': (v) =>
		`${at(v, 'width')} × ${at(v, 'height')} は、このモデルの解像度（${at(v, 'resolution')} px）より大きめです。遅くなりメモリも使い、結果も悪くなりがちです。`,
	'pair.small': (v) =>
		`${at(v, 'width')} × ${at(v, 'height')} は、このモデルの解像度（${at(v, 'resolution')} px）よりずっと小さく、顔をうまく描けない大きさです。`,
	'storage.quota': (v) =>
		`保存する空きがありません（${at(v, 'megabytes')} MB 必要）。いらないものを削除するか、ディスクを空けてください。ダウンロードはできます。`,
	'storage.unavailable': () => 'ここでは保存できません（プライベートウィンドウなど）。ダウンロードはできます。',
	'storage.missing': () => 'もうここにはありません。ブラウザが消したか、別の場所で削除されました。',
	'storage.newer': () => 'ライブラリは新しいバージョンの Utsushi で書かれています。再読み込みしてください。',
	'storage.failed': (v) => `保存できませんでした: ${at(v, 'detail')}`,
	'trainer.died': () => '学習エンジンが止まりました。ページを再読み込みしてください。すでにできたものはライブラリに残っています。',
	internal: (v) => `Utsushi の中で問題が起きました: ${at(v, 'detail')}`
};
