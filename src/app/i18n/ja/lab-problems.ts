/** マージ・リサイズ・抽出に関する問題の説明(日本語)。 */
import type { Problem } from '../../../service/protocol';
import type { ProblemTexts } from '../problems';

const at = (v: Problem['values'], key: string): string => String(v[key] ?? '');

export const labProblemsJa: ProblemTexts = {
	'lora.duplicate': (v) => `同じ部分が「${at(v, 'first')}」と「${at(v, 'second')}」の2つあり、どちらを使うのか決められません。ファイルを入手し直してください。`,
	'lora.missingAlpha': (v) =>
		`${at(v, 'name')}: alpha のないモジュールが ${at(v, 'modules')} 個あります。ほかのツールと同じく、ランクと同じ値（倍率1）とみなします。`,
	'merge.noFiles': () => 'マージするLoRAがありません。1つ以上選んでください。',
	'merge.noParts': () => 'マージするLoRAがありません。smile:0.6 のように書いてください。',
	'merge.noName': (v) => `LoRAの名前がありません（${at(v, 'at')}）。名前:0.6 のように書いてください。`,
	'merge.ratio': (v) => `「${at(v, 'given')}」は比率として読めません。-100 から 100 までの数値にしてください。`,
	'merge.blocks': (v) =>
		`「${at(v, 'given')}」は階層プリセットでも、12・17・20・26個の数値でもありません。12個はSDXLのアテンション、17個はSD1.5のアテンション、20個はSDXL全体、26個はSD1.5全体です。`,
	'merge.architectures': (v) =>
		`元になったモデルの種類が違います（${at(v, 'names')}: ${at(v, 'titles')}）。同じ種類のLoRAどうししかマージできません。どちらかを外してください。`,
	'merge.shapes': (v) => `モジュール ${at(v, 'module')} の大きさが合いません（${at(v, 'names')}）。別のモデル用のLoRAなので、一緒にはマージできません。`,
	'merge.ranks': (v) =>
		`モジュール ${at(v, 'module')} のランクが違います（${at(v, 'ranks')}）。平均できるのはランクが同じときだけです。SVDでマージしてください。`,
	'merge.nothing': () => 'マージの結果に何も残りません。比率か階層の重みがすべて0、またはLoRAが何も変えません。比率を上げてください。',
	'merge.dimensionAboveRank': (v) =>
		`次元 ${at(v, 'dimension')} は、元のLoRAを全部合わせたランクより大きい値です。結果は ${at(v, 'rank')} になり、それで何も失われません。`,
	'merge.leftOut': (v) => `重みが0か、何も変えないモジュール ${at(v, 'modules')} 個は、結果に入っていません。`,
	'merge.overflow': (v) => `値 ${at(v, 'value')} は16ビット（f16）に入りません。比率を下げるか、bf16かf32で保存してください。`,
	'merge.notInCheckpoint': (v) =>
		`モジュール ${at(v, 'modules')} 個は、このモデルに入る場所がありません（最初は ${at(v, 'first')}）。LoRAと同じ種類のモデルを選んでください。`,
	'extract.shapes': (v) => `${at(v, 'tensor')} の大きさが2つのモデルで違います（${at(v, 'tuned')} と ${at(v, 'base')}）。同じ種類のモデルを選んでください。`,
	'extract.same': () => '2つのモデルのUNetはまったく同じなので、取り出せる差がありません。調整後と調整前のモデルを選んでください。'
};
