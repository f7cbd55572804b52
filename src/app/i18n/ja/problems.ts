/** 問題の説明(日本語)。何が問題で、どうすればよいか。キーは Problem.code。 */
import type { Problem } from '../../../service/protocol';
import type { ProblemTexts } from '../problems';
import { fileProblemsJa } from './file-problems';

const which = (v: Problem['values']): string => (v['which'] === 'original' ? '元の画像' : '目標の画像');
const at = (v: Problem['values'], key: string): string => String(v[key] ?? '');

export const problemsJa: ProblemTexts = {
	...fileProblemsJa,
	'recipe.notObject': () => 'レシピの形になっていません。ファイルやリンクが壊れている可能性があります。',
	'recipe.version': (v) => `このレシピのバージョン（${at(v, 'given')}）は読めません。新しい Utsushi で作られたものなら、更新してから開いてください。`,
	'recipe.unknownField': (v) => `「${at(v, 'field')}」という項目はないので無視しました。綴りを確かめてください。`,
	'recipe.notNumber': (v) => `${at(v, 'given')} は数値ではありません。0.0001 や 5e-5 のように書いてください。`,
	'recipe.notWhole': (v) => `${at(v, 'given')} は整数にしてください。`,
	'recipe.notText': (v) => `「${at(v, 'field')}」は文字列にしてください。`,
	'recipe.notBoolean': (v) => `「${at(v, 'field')}」は true か false にしてください。`,
	'recipe.notList': (v) => `「${at(v, 'field')}」はリストにしてください。`,
	'recipe.tooSmall': (v) => `${at(v, 'given')} は小さすぎます。${at(v, 'limit')} 以上にしてください。`,
	'recipe.tooLarge': (v) => `${at(v, 'given')} は大きすぎます。${at(v, 'limit')} 以下にしてください。`,
	'recipe.tooLong': (v) => `「${at(v, 'field')}」が長すぎます（${at(v, 'limit')} まで）。`,
	'recipe.tooShort': () => '空にはできません。',
	'recipe.notOneOf': (v) => `${at(v, 'given')} は選べません。${at(v, 'options')} から選んでください。`,
	'recipe.badName': () => 'ファイル名になるので、/ \\ : * ? " < > | や前後の空白は使えません。',
	'recipe.badRules': () => '「倍率:ステップ」をカンマで並べ、最後に倍率だけを書いてください。例: 1:500, 0.3:750, 0.1',
	'recipe.badHash': () => 'SHA-256 は16進数64桁です。',
	'recipe.timestepRange': (v) => `${at(v, 'min')}〜${at(v, 'max')} になっています。上限は下限より大きくしてください。`,
	'recipe.invalid': (v) => `「${at(v, 'field')}」の値 ${at(v, 'given')} は使えません。`,
	'recipe.alphaAboveRank': (v) => `alpha ${at(v, 'alpha')} が rank ${at(v, 'rank')} より大きく、効きが1倍を超えるため絵が崩れやすくなります。`,
	'recipe.alphaZero': (v) => `0では何も学習できません。${at(v, 'rank')} にしてください。`,
	'recipe.warmupTooLong': (v) => `ウォームアップがステップ数 ${at(v, 'iterations')} より短くないため、学習率が上がりきりません。`,
	'recipe.rateHighForBatch': (v) => `バッチ ${at(v, 'batch')} には高めです。普通は ${at(v, 'usual')} くらいまでで、超えると崩壊しやすくなります。`,
	'recipe.textEncoderBlock': () => 'BASE（テキストエンコーダー）は差分学習では学習しないので無視します。',
	'recipe.sameSeed': () => '2段階のシードが同じです。',
	'link.empty': () => 'このリンクにはレシピが入っていません。リンク全体をコピーし直してください。',
	'link.tooLong': (v) => `リンクが長すぎます（${at(v, 'length')} 文字、上限 ${at(v, 'limit')}）。レシピをファイルで受け取ってください。`,
	'link.notBase64': () => 'リンクが壊れています（使えない文字があるか、途中で切れています）。リンク全体をコピーし直してください。',
	'link.notDeflate': () => 'リンクが壊れていて中身を展開できません。リンク全体をコピーし直してください。',
	'link.tooBig': () => '展開すると大きすぎるので開きませんでした。Utsushi のレシピではありません。',
	'link.notJson': () => '展開できましたが、レシピではありません。別のアプリのものか、壊れています。',
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
