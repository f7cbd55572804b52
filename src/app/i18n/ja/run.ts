/** 学習中と終わったあと。 */
import type { en } from '../en/index';

export const run: (typeof en)['run'] = {
	states: {
		preparing: '準備中',
		encoding: '画像を読み取り中',
		compiling: 'GPUプログラムを準備中',
		training: '学習中',
		sampling: '画像を生成中',
		saving: '保存中',
		done: '完了',
		stopped: '停止',
		failed: '失敗'
	},
	details: { download: 'モデルを取得中', open: 'モデルを開いています' },
	verdictWords: {
		notYet: '学習中',
		learning: '学習中',
		converged: '収束',
		overfitting: '行きすぎ',
		collapsed: '崩壊',
		notConverging: '収束しそうにありません'
	},
	verdicts: {
		notYet: 'まだ下がっていません。始めのうちは一度上がることもあるので、もう少し様子を見てください。',
		learning: '学習中です。決まったノイズでの損失は下がっています。',
		converged: '収束しました。これ以上続けてもほとんど変わりません。',
		overfitting:
			'行きすぎです。決まったノイズでの損失がまた上がっています。もっと前のステップのほうが良いので、プレビューを見て、そこで保存したファイルを使ってください。',
		collapsed: '崩壊しました。LoRAがないときより悪くなっています。学習率か alpha を下げてください。',
		notConverging: 'このペースでは、覚えきる前に終わります。学習率を上げる（たとえば3倍）か、ステップ数を増やしてください。'
	},
	endedWords: {
		notYet: '下がらずに終了',
		learning: 'まだ下がる途中で終了',
		converged: '収束',
		overfitting: '行きすぎ',
		collapsed: '崩壊',
		notConverging: '収束せずに終了'
	},
	endedVerdicts: {
		notYet:
			'決まったノイズでの損失は、最後まで下がりませんでした。学習率が合っていないか、ステップ数が足りません。「学習率を探す」で合う値を確かめてください。',
		learning: '終わったときも、決まったノイズでの損失はまだ下がっていました。効きが弱ければ、ステップ数を増やしてください。',
		converged: '収束しました。ステップ数は足りています。',
		overfitting: '行きすぎました。決まったノイズでの損失が途中からまた上がっています。もっと前のステップのファイルを使ってください。',
		collapsed: '崩壊しました。LoRAがないときより悪くなっています。学習率か alpha を下げてください。',
		notConverging: '覚えきる前に終わりました。学習率を上げる（たとえば3倍）か、ステップ数を増やしてください。'
	},
	endedEarly: (pass, step, steps) => `${pass}は収束したので、${steps} ステップ中 ${step} で終えました。`,
	guard: {
		title: '見張りが働きました',
		reasons: {
			notFinite: (value) => `勾配が有限でないステップが ${value} 回ありました`,
			loss: (value) => `損失があるべき値の ${value} 倍になりました`,
			norm: (value) => `LoRAの重みが数ステップで ${value} 倍になりました`,
			probe: (value) => `決まったノイズでの損失が、LoRAなしの ${value} 倍です`
		},
		rollback: (pass, step, reason, to, rate) => `${pass} ${step} ステップ: ${reason}。${to} ステップに戻り、学習率を ${rate} にして続けています。`,
		stop: (pass, step, reason, to) =>
			`${pass} ${step} ステップ: ${reason}。学習率を下げても直らないので学習を止め、${to} ステップのものを残しました。もっと低い学習率を選んでください。`
	},
	passNumber: (n, name) => `${n}段階目 ${name}`,
	waiting: '待機中',
	step: (step, steps) => `${step} / ${steps}`,
	left: (time) => `あと ${time}`,
	memory: (used) => `GPU ${used}`,
	memoryMismatch: (planned, allocated) => `計画 ${planned}・確保 ${allocated}`,
	leftUnknown: '残り時間は、最初の数ステップのあとでわかります',
	stripCount: (done, all) => `強さの一覧 ${done} / ${all} 枚`,
	stop: '止める',
	stopSave: '止めて保存',
	stopping: 'このステップのあとで止まります…',
	leave:
		'このタブを開いている間は、裏に回しても学習は続きます（ブラウザが遅くすることがあります）。閉じると止まりますが、もう一度 Utsushi を開けば最後の途中保存から続けられます。',
	loss: '損失',
	lossHint: '毎回違うノイズで測るので上下します。全体の傾きを見てください。',
	lossText: (pass, steps, first, last) => `損失（${pass}）: ${steps} ステップ、平滑化した値は ${first} から ${last}。`,
	smoothing: '平滑化',
	logScale: '対数',
	probe: '定点観測',
	probeText: (pass, base, now, ratio) => `${pass}: LoRAなし ${base}、今 ${now}（${ratio}）。`,
	learningRate: '学習率',
	rateText: (now, most) => `学習率は今 ${now}、最大 ${most}。`,
	bands: 'ノイズの強さごと',
	bandsLead: 'ノイズが強いところは構図や大きな形、弱いところは細部を決めます。棒は、LoRAなしの損失に対する今の損失の割合です。',
	bandNames: ['ノイズ弱', 'やや弱', 'やや強', 'ノイズ強'],
	probeBase: 'LoRAなし',
	preview: 'ライブプレビュー',
	previewNone: '最初のプレビューは、少し学習が進むと表示されます。',
	previewOff: 'このレシピではライブプレビューは無効です。',
	previewAt: (pass, step) => `${pass} ${step} ステップ`,
	previewFacts: (seed, strength) => `シード ${seed} · 強さ ${strength}`,
	previewCompare: '前と後',
	overTime: '移り変わり',
	through: '時間をたどる',
	effect: {
		title: '効果と副作用',
		inside: '効果',
		outside: '副作用',
		lead: '効果は2枚の画像が違うところの変化、副作用はそれ以外の変化。どちらも2枚の間の変化に対する割合です。',
		summary: (step, inside, outside) => `${step} ステップ: 効果 ${inside}、副作用 ${outside}。`,
		best: (step) => `まず ${step} ステップを見てください。最大の効果の9割以上が出ていて、副作用がいちばん小さいところです。`,
		show: '表示'
	},
	strip: '強さ',
	stripLead: '同じシードを強さごとに並べました。変化がはっきりして、ほかが崩れていないあたりが使いどころです。',
	stripSeedHead: 'シード',
	stripSeed: (seed) => `シード ${seed}`,
	stripCell: (seed, strength) => `シード ${seed}、強さ ${strength}`,
	stripWaiting: 'まだ描いていません',
	download: (size) => `ダウンロード（${size}）`,
	downloadName: (name) => `${name} をダウンロード`,
	inLibrary: 'ライブラリに保存しました。',
	toLibrary: 'ライブラリで見る',
	further: {
		title: '次にできること',
		plot: '強さとシードを変えて試す',
		plotHint: '強さ −1〜2 とシード3つの組み合わせを描いて並べます。',
		steps: '途中のファイルと比べる',
		stepsHint: (n) => `この学習のファイル ${n} 個を並べて描き、どのステップがいちばん良いかを見ます。`,
		merge: 'ほかのLoRAとマージ',
		mergeHint: '正面・左・右など、いくつかのLoRAを1つにまとめます。'
	},
	libraryFailed: 'このブラウザのライブラリに保存できませんでした。今ダウンロードしてください。',
	share: 'レシピのリンクをコピー',
	shared: (characters) => `コピーしました · ${characters} 文字`,
	shareFailed: 'コピーできませんでした。リンク:',
	again: 'この設定でもう一度学習',
	next: '次の学習を準備',
	files: 'ファイル',
	roles: { copier: 'コピー機', intermediate: '途中', result: '完成' },
	atStep: (step) => `${step} ステップ`,
	doneTitle: (name) => `${name} ができました`,
	stoppedTitle: '停止しました',
	stoppedLead: '学習を止めました。それまでに保存したファイルは下にあります。',
	failedTitle: '学習がエラーで終わりました',
	failedKept: 'それまでに保存したファイルは、下とライブラリにあります。',
	took: (time) => `所要時間 ${time}`,
	announceDone: '学習が終わりました。'
};
