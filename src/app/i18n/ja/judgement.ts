/** このままだと何が起きそうか、学習率の自動探し。 */
import type { judgement as en } from '../en/judgement';

export const judgement: typeof en = {
	advice: {
		collapse: (times, rate) => `実績のある設定の ${times} 倍の強さで効くので、ノイズに崩れる可能性が高いです。${rate} を試してください。`,
		risky: (times, rate) => `いつもの ${times} 倍の強さで効きます。持ちこたえることも壊れることもあります。普通は ${rate} です。`,
		noEffect: (times, rate, steps) =>
			`効果は出ないでしょう。この学習率・alpha・ステップ数では、重みはいつもの ${times} しか動けません。学習率を ${rate} に近づけるか、ステップ数を ${steps} に近づけてください。`,
		weak: (times, rate, steps) => `おそらく弱すぎます（いつもの ${times}）。学習率を ${rate} に近づけるか、ステップ数を ${steps} に近づけてください。`,
		vessel: (rank) =>
			`ステップは水滴、rank は器です。器が大きいと（普通は ${rank}）、同じ効果にもっとステップが要ります。ステップを増やすか、rank を下げてください。`,
		overflow: (times) => `必要よりずっと長い学習です（いつもの ${times} 倍）。画風や背景まで混ざります。途中で保存して、手前のステップを選んでください。`
	},
	guard: '学習がおかしくなったら',
	guards: { rollback: '戻って学習率を半分にして続ける', stop: '最後の良い状態で止める', off: '何もしない' },
	guardHint: '損失、重み、勾配を見張ります。正常な学習の結果は1ビットも変わりません。GPUにLoRAの控えを2つ持ちます。',
	stopWhenConverged: '収束したらその段階を終える',
	stopHint: '続けてもほとんど変わらないときに時間を節約します。オフなら全ステップを学習します。',
	find: '学習率を探す…',
	title: '学習率を探す',
	lead: '使い捨てのネットワークを80ステップだけ学習し、学習率をごく小さい値から壊れるまで上げていきます。本番の学習には影響しません。',
	withoutCopier: '2段階目は、まだないコピー機なしで試します。',
	ownRate: 'このオプティマイザは学習率を自分で決めます。1 のままにしてください。',
	pass: '段階',
	start: '始める',
	stop: '止める',
	close: '閉じる',
	use: (rate) => `${rate} を使う`,
	busy: '試しています…',
	noPictures: '先に2枚の画像を選んでください。',
	chart: (points, rate, value) => `${points} ステップ、学習率 ${rate} まで試しました。そこでの損失は元の ${value} 倍です。`,
	axis: '学習率ごとの、元に対する損失の比',
	broke: (at, rate) => `${at} あたりで壊れます。その8分の1の ${rate} なら、速く学習でき、壊れる境目からも離れています。`,
	lowest: (rate) => `壊れませんでした。損失がいちばん低かったのは ${rate} あたりです。`,
	nothing: 'どの学習率でも損失は下がりませんでした。画像、ブロック、alpha を確かめてください。',
	stopped: '何か言えるようになる前に止まりました。'
};
