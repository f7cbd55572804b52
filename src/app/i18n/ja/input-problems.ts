/** 学習の材料(画像フォルダー、マスク、ファイル)の問題の説明。キーは Problem.code。 */
import type { Problem } from '../../../service/protocol';
import type { ProblemTexts } from '../problems';

const at = (v: Problem['values'], key: string): string => String(v[key] ?? '');

const INPUT: Readonly<Record<string, string>> = {
	'images.original': '元の画像',
	'images.target': '目標の画像',
	'copier.file': 'コピー機のファイル',
	resumeFrom: '続きから学習するLoRA'
};

export const inputProblemsJa: ProblemTexts = {
	'input.missing': (v) => `${INPUT[at(v, 'which')] ?? at(v, 'which')}がありません。このモードの学習に必要なので、選んでください。`,
	'mask.size': (v) =>
		`マスクは ${at(v, 'width')}×${at(v, 'height')}、画像は ${at(v, 'width2')}×${at(v, 'height2')} ピクセルです。マスクを画像と同じ大きさにしてください。`,
	'mask.black': () => 'マスクが全部黒なので、何も学習されません。学習したいところを白く塗ってください。',
	'dataset.empty': () => 'フォルダーに画像がありません。画像を入れるか、別のフォルダーを選んでください。',
	'dataset.multiple': (v) =>
		`画像を揃える大きさに ${at(v, 'width')}×${at(v, 'height')} が含まれますが、このモデルでは各辺を ${at(v, 'step')} の倍数、${at(v, 'limit')} 以下にする必要があります。解像度・最小の辺・刻みを ${at(v, 'step')} の倍数にしてください。`,
	'dataset.noPairs': (v) =>
		`名前の終わりが「${at(v, 'suffix')}」の相手がいる画像がありません（X.png と X${at(v, 'suffix')}.png）。名前か目印を直してください。`,
	'dataset.tooSmall': () => 'どの画像も揃える大きさより小さく、拡大しない設定です。拡大を許すか、解像度を下げてください。',
	'dataset.manySizes': (v) => `画像の大きさが ${at(v, 'sizes')} 種類あり、それぞれGPUメモリを使います。刻みを大きくするか縦横比の上限を下げると減ります。`,
	'dataset.tooMany': (v) => `フォルダーに画像が ${at(v, 'count')} 枚あり、上限の ${at(v, 'limit')} 枚を超えています。フォルダーが正しいか確かめてください。`,
	'dataset.notPng': (v) => `${at(v, 'name')} は使われません。コマンドラインで読めるのはPNGだけなので、PNGで保存し直してください。`,
	'path.notFolder': (v) => `${at(v, 'path')} はフォルダーではなくファイルです。フォルダーを指定してください。`,
	'file.changed': (v) => `${at(v, 'path')} はレシピを作ったときのファイルと中身が違います。`
};
