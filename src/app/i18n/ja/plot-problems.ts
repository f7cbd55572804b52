/** プロット(X/Y/Zの比較表)に関する問題の説明(日本語)。 */
import type { Problem } from '../../../service/protocol';
import type { ProblemTexts } from '../problems';

const at = (v: Problem['values'], key: string): string => String(v[key] ?? '');

export const plotProblemsJa: ProblemTexts = {
	'plot.values.empty': () => '値がありません。1, 1.5, 2 や 0-1 [5] のように書いてください。',
	'plot.values.notNumber': (v) => `「${at(v, 'at')}」は数値でも範囲でもありません。1-5、1-10 (+2)、0-1 [5] のように書けます。`,
	'plot.values.notWhole': (v) => `${at(v, 'at')} は整数にしてください。`,
	'plot.values.tooMany': (v) => `値が多すぎます（1つの軸に ${at(v, 'limit')} 個まで）。`,
	'plot.values.quote': () => '引用符「"」が閉じられていません。',
	'plot.sameName': (v) => `「${at(v, 'name')}」という名前のLoRAが2つあります。別の名前にしてください。`,
	'plot.blocks': (v) => `「${at(v, 'given')}」は階層プリセット（${at(v, 'presets')}）でも、12・17・20・26個の数値でもありません。`,
	'plot.unknownLora': (v) => `「${at(v, 'name')}」というLoRAはこのプロットにありません。名前を確かめるか、LoRAを追加してください。`,
	'plot.dimension': (v) => `「${at(v, 'given')}」は次元として読めません。8 のような整数、auto、energy=0.99 のどれかにしてください。`,
	'plot.sameAxis': (v) => `${at(v, 'other')}軸と${at(v, 'axis')}軸が同じものを変えています。どちらかを変えてください。`,
	'plot.noLora': (v) => `${at(v, 'axis')}軸はLoRAを変えますが、LoRAがまだありません。追加してください。`,
	'plot.search': (v) => `最初の値「${at(v, 'search')}」は置き換える語ですが、プロンプトにもネガティブプロンプトにも見つかりません。`,
	'plot.tooMany': (v) => `${at(v, 'cells')} マスになります。${at(v, 'limit')} マスまでに減らしてください。`,
	'plot.region': () => '範囲が空です。描き直してください。',
	'plot.sizes': () => '1つのプロットの画像は、すべて同じ大きさにしてください。',
	'plot.missingFile': () => 'このプロットで使うLoRAのファイルがありません。もう一度追加してください。',
	'plot.labels': () => '英数字以外のラベルは□で描かれます。画像の中の文字情報には、そのまま入っています。',
	'plot.noPath': (v) => `「${at(v, 'name')}」のファイルが書かれていません。path を書いてください。`,
	'plot.notJson': (v) => `プロットのファイルがJSONとして読めません（${at(v, 'detail')}）。`
};
