/** レシピとリンクの問題の説明(日本語)。何が問題で、どうすればよいか。 */
import type { Problem } from '../../../service/protocol';
import { short } from '../../format';
import type { ProblemTexts } from '../problems';

const at = (v: Problem['values'], key: string): string => String(v[key] ?? '');
const rate = (v: Problem['values'], key: string): string => short(Number(v[key]));

export const recipeProblemsJa: ProblemTexts = {
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
	'recipe.rateHighForBatch': (v) =>
		`学習率 ${rate(v, 'rate')} はバッチ ${at(v, 'batch')} には高めです。普通は ${rate(v, 'usual')} くらいまでで、大きく超えると崩壊しやすくなります。`,
	'recipe.textEncoderBlock': () => 'BASE（テキストエンコーダー）を学習するのは「LoRA」モードだけなので無視します。',
	'recipe.textEncoderAttention': () => 'アテンションを「すべて」以外にすると、テキストエンコーダー（BASE）は学習されません。',
	'recipe.textRateIgnored': (v) =>
		`${at(v, 'optimizer')} は全体で1つの歩幅を自分で決めるので、テキストエンコーダーだけの学習率は使われません。0にしてください。`,
	'recipe.sameSeed': () => '2段階のシードが同じです。',
	'recipe.int8Loha': () => '11ビットのモデルの上では LoHa を学習できません。種類を LoRA にするか、モデルを16ビットにしてください。',
	'recipe.lohaIgnores': (v) => (at(v, 'field') === 'strength' ? 'LoHa には「強さの焼き込み」が効きません。' : 'LoHa には「アテンションの選択」が効きません。'),
	'recipe.convWithoutUse': (v) => `アテンションだけを学習するので、畳み込みの rank ${at(v, 'convRank')} は使われません。「すべて」にするか、0にしてください。`,
	'recipe.rankAboveWidth': (v) =>
		`rank ${at(v, 'rank')} はいちばん細い層の幅 ${at(v, 'width')} を超えています。ファイルが大きくなるだけで、結果は変わりません。`,
	'recipe.eightBit': () => '8ビットの状態では、差分学習の小さな変化が失われやすいと報告されています。メモリが足りるなら32ビットにしてください。',
	'recipe.rateLowForAdaptive': (v) => `${at(v, 'optimizer')} は歩幅を自分で決めるので、学習率 ${at(v, 'rate')} は低すぎます。1にしてください。`,
	'recipe.noCopierFile': () => 'コピー機のLoRAファイルが選ばれていません。ファイルを選ぶか、「学習する」にしてください。',
	'recipe.noConcept': () => '変えたい概念が空です。たとえば「blue hair」のように書いてください。',
	'recipe.noSuffix': () => '目標画像の目印が空です。X.png と X_t.png の組なら「_t」と書いてください。',
	'recipe.addiftLong': (v) => `ADDifT に ${at(v, 'iterations')} ステップは長めです。30〜100で足り、それを超えると過学習しがちです。`,
	'recipe.addiftMultiplier': (v) =>
		`学習時の倍率 ${at(v, 'multiplier')} は普通の0.25と違います。強さ1で使うと、学習したときの ${at(v, 'times')} 倍で効きます。`,
	'recipe.notMultiple': (v) => `${at(v, 'given')} は ${at(v, 'step')} の倍数にしてください（64の倍数がおすすめです）。`,
	'traintrain.notPreset': () => 'TrainTrain のプリセットではありません（mode か設定項目がありません）。',
	'traintrain.unsupported': (v) =>
		`TrainTrain の設定 ${at(v, 'key')} = ${at(v, 'value')} に当たるものはここにありません。効きませんが、書き出すときのために残します。`,
	'link.empty': () => 'このリンクにはレシピが入っていません。リンク全体をコピーし直してください。',
	'link.tooLong': (v) => `リンクが長すぎます（${at(v, 'length')} 文字、上限 ${at(v, 'limit')}）。レシピをファイルで受け取ってください。`,
	'link.notBase64': () => 'リンクが壊れています（使えない文字があるか、途中で切れています）。リンク全体をコピーし直してください。',
	'link.notDeflate': () => 'リンクが壊れていて中身を展開できません。リンク全体をコピーし直してください。',
	'link.tooBig': () => '展開すると大きすぎるので開きませんでした。Utsushi のレシピではありません。',
	'link.notJson': () => '展開できましたが、レシピではありません。別のアプリのものか、壊れています。'
};
