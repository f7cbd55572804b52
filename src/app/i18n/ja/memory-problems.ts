/** GPUメモリの問題の説明(日本語)。 */
import type { Problem } from '../../../service/protocol';
import type { ProblemTexts } from '../problems';

const at = (v: Problem['values'], key: string): string => String(v[key] ?? '');

/** いちばん効く減らし方。キーは values.remedy。 */
const REMEDIES: Readonly<Record<string, string>> = {
	storage: '数値の保存を32ビットから16ビットにすると約半分になります。',
	batch: 'バッチを1にすると減ります。',
	optimizer: 'ランクを下げるか、覚える量の少ないオプティマイザ（8ビット、Adafactor）にすると減ります。',
	size: '画像を小さくすると減ります。',
	model: '大部分はモデルそのものです。メモリの多いGPUか、小さいモデルが必要です。'
};

/** VAEを使う場面。キーは values.phases。 */
const PHASES: Readonly<Record<string, string>> = { encode: '学習画像の符号化', preview: '途中のプレビュー', strip: '最後の画像' };

const remedy = (v: Problem['values']): string => REMEDIES[at(v, 'remedy')] ?? '';

export const memoryProblemsJa: ProblemTexts = {
	'gpu.memoryLimit': (v) =>
		`この学習には少なくとも ${at(v, 'needed')} GB のGPUメモリが要りますが、設定で使ってよいのは ${at(v, 'limit')} GB までです。${remedy(v)}カードに余裕があれば、設定の上限を上げてください。`,
	'base.int8': (v) =>
		`モデルを11ビットで持っています。大きな行列 ${at(v, 'matrices')} 個の誤差は平均 ${at(v, 'mean')} %、最大 ${at(v, 'worst')} %（${at(v, 'layer')}）です。0.5 % を超えるときは、モデルを16ビットにしてください。`,
	'gpu.vaeOnCpu': (v) =>
		`GPUに空きがないため、VAEの計算（${at(v, 'phases')
			.split(' ')
			.map((name) => PHASES[name] ?? name)
			.join('、')}）はCPUで行います。1枚に1分ほどかかることがあります。設定で使えるメモリを増やすか、画像を小さくするか、プレビューを減らしてください。`,
	'gpu.memoryLarge': (v) => `この学習はGPUメモリを ${at(v, 'needed')} GB 使います。${at(v, 'card')} GB 以上のカードが必要です。${remedy(v)}`,
	'gpu.memoryReduced': (v) =>
		`GPUに ${at(v, 'planned')} の空きがなかったので、途中の値を計算し直す方法に切り替えました（${at(v, 'now')}、計算は ${at(v, 'slower')} % 増えます）。GPUを使っているほかのアプリを閉じると元の速さに戻ります。結果は変わりません。`
};
