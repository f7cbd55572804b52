/** 設定：行列計算の実測。 */
import type { en } from '../en/index';

export const tuning: (typeof en)['tuning'] = {
	title: '行列計算の速さ',
	hint: '学習の大部分は行列の掛け算です。Utsushiは掛け算の分け方を何通りか持っていて、ふだんは決まった規則で選びます。「測定」を押すと、このGPUですべて試して、いちばん速いものを使います。学習の結果は、丸め誤差を除いて変わりません。',
	byRule: 'このGPUではまだ測定していません。規則で選んでいます。',
	product: '計算',
	size: '行 × 列 × 和の長さ',
	chosen: 'いちばん速い分け方',
	rate: '速さ',
	gain: '規則との比',
	forms: {
		'rows nk': '線形層',
		'rows kn': '線形層の勾配',
		'cols kn': 'LoRA行列の勾配',
		'conv nk': '畳み込み',
		'convTransposed convWeightTransposed': '畳み込みの勾配'
	},
	tflops: (rate) => `${rate} TFLOP/s`,
	gflops: (rate) => `${rate} GFLOP/s`,
	took: (seconds) => `${seconds} 秒で測定しました。GPU・ドライバーやブラウザ・バージョンごとに記憶します。`,
	measure: '測定する（約10秒）',
	again: 'もう一度測定する（約10秒）',
	measuring: '測定中…',
	wait: '測定中は画面がかくつくことがあります。学習は同時にできません。'
};
