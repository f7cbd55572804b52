/** レシピの入力欄: プリセット、2段階の設定と一行の説明、ブロック。 */
import type { en } from '../en/index';

export const recipe: (typeof en)['recipe'] = {
	title: 'レシピ',
	presets: 'プリセット',
	custom: '自分の設定',
	customHint: '上のプリセットから変えてあります。',
	passes: { copier: 'コピー機', difference: '差分' },
	passHints: {
		copier: '1段階目。どんなノイズからでも元の画像を描くように学びます。',
		difference: '2段階目。元の画像を目標に変える差分だけを学びます。これが完成品になります。'
	},
	summary: (rank, rates, steps) => `rank ${rank} · ${rates} · ${steps} ステップ`,
	rateWord: '学習率',
	settings: '2段階の設定',
	advanced: '詳しい設定',
	common: 'プロンプト・プレビュー・保存',
	fields: {
		rank: { label: 'rank（dim）', hint: 'LoRAの器の大きさ。大きいほど多く学べますが、画風や背景も混ざりやすくなります。' },
		alpha: { label: 'alpha', hint: 'alpha ÷ rank が効きに掛かります。alpha を小さくすると、同じ学習率でも変化はゆっくりになります。' },
		iterations: { label: 'ステップ数', hint: 'rankが大きいほど、同じ効果に多くのステップが要ります。多すぎるとやりすぎになります。' },
		learningRate: { label: '学習率', hint: '1ステップで進む量。高すぎると崩壊し、低すぎると何も変わりません。' },
		batch: { label: 'バッチ', hint: '1ステップで使うノイズの数。多いと安定して高い学習率に耐えますが、遅くなりメモリも使います。' },
		optimizer: { label: 'オプティマイザ', hint: '勾配から1歩を決める方式。合う学習率は方式ごとに違います。' },
		schedule: { label: 'スケジュール', hint: '学習率をどう動かすか。cosineは0まで下げ、終わりが落ち着きます。' },
		convRank: { label: 'conv rank', hint: '3×3畳み込みのrank。0なら畳み込みは学習せず、ファイルも小さいままです。' },
		convAlpha: { label: 'conv alpha', hint: '畳み込み用の alpha です。' },
		seed: { label: 'シード', hint: '同じシードと設定なら、同じGPUで同じLoRAになります。−1は開始時に決めます。' },
		minSnrGamma: { label: 'Min-SNR γ', hint: 'ノイズがほとんどない簡単なステップの重みを下げます。5が一般的、0で無効。' },
		timestepMin: { label: 'タイムステップ 下限', hint: '小さい値は細部、大きい値は構図を決めます。' },
		timestepMax: { label: 'タイムステップ 上限', hint: 'この値自体は含みません。1000で全部です。' },
		loss: { label: '損失', hint: '普通はMSE。L1とsmooth L1は一部の大きな誤差を気にしすぎません。' },
		blocks: { label: 'ブロック（階層）', hint: 'UNetのどこを学習するか。絞ると狙いは定まりますが、効きは弱くなります。' }
	},
	hints: {
		scale: (factor) => `効き × ${factor}（alpha ÷ rank）`,
		rateAtBatch: (rate, batch) => `バッチ ${batch} なら ${rate} くらいまでが普通です`,
		effectiveRate: (rate) => `alpha = rank での ${rate} に相当`
	},
	optimizers: {
		lion: 'Lion',
		adamw: 'AdamW',
		adam: 'Adam',
		sgdNesterov: 'SGD (Nesterov)',
		adafactor: 'Adafactor',
		came: 'CAME',
		prodigy: 'Prodigy',
		dAdaptAdam: 'D-Adapt Adam',
		dAdaptLion: 'D-Adapt Lion',
		scheduleFreeAdamW: 'AdamW schedule-free',
		tiger: 'Tiger'
	},
	schedules: {
		cosine: 'cosine',
		constant: 'constant（一定）',
		linear: 'linear（直線）',
		cosineAnnealing: 'cosine annealing',
		cosineRestarts: 'cosine（くり返し）',
		cosineWarmRestarts: 'cosine annealing（くり返し）',
		polynomial: 'polynomial（多項式）',
		exponential: 'exponential（指数）',
		step: 'step（一定間隔で下げる）',
		multiStep: 'multi-step（指定点で下げる）',
		piecewise: 'piecewise（区間ごとに指定）',
		plateau: '損失が止まったら下げる',
		cyclic: 'cyclic（上下をくり返す）',
		oneCycle: 'one cycle（一山）'
	},
	losses: { mse: 'MSE', l1: 'L1', smoothL1: 'smooth L1' },
	blockGroups: { in: 'IN', middle: '中央', out: 'OUT' },
	blockGroupHints: { in: '構図', middle: '主題', out: '細部と色' },
	blockCount: (n, all) => `${all} のうち ${n}`,
	allBlocks: 'すべて',
	noBlocks: 'なし',
	blockOf: (pass, block) => `${pass}: ${block}`,
	model: {
		vae: 'VAE（画像の変換）',
		vaeOwn: 'モデルに入っているもの',
		vaeChoose: '別のVAEを選ぶ',
		vaeUseOwn: 'モデルのものに戻す',
		vaeAgain: (name) => `前回の ${name} を使う`,
		vaeHint:
			'画像とモデルの内部表現を変換する部分です。配布ページに「別のVAEが必要」とあるときだけ、そのファイル（.safetensors）を選んでください。SD 1.5用とSDXL用は構造が同じで見分けられないので、モデルの種類に合うものを選んでください。学習・画像・プロットのすべてに使われます。',
		prediction: 'モデルが予測するもの',
		predictions: { epsilon: 'ノイズ（ほとんどのモデル）', v: '速度（v-prediction）' },
		predictionHint: 'ファイルに書いてあるモデルは自動で判別します。配布ページにv-predictionと書かれているときだけ「速度」を選んでください。',
		sizes: 'SDXLに伝える大きさ',
		sizeUnits: { pixels: 'ピクセル', latents: '8分の1（TrainTrainと同じ）' },
		sizesHint:
			'SDXLには、画像の元の大きさ・切り抜いた位置・出来上がりの大きさが伝えられます。「ピクセル」はWebUIが生成時に伝えるのと同じ値です。「8分の1」はTrainTrainの学習を再現するためのもので、画像がとても小さいものとして扱われます。',
		base: 'GPU上のモデル',
		bases: { f16: 'そのまま（16 または 32 ビット）', int8: '11 ビット（メモリ7割）' },
		baseHint:
			'11ビットでは、大きな行列を「整数 × 32個ごとの倍率」で持ちます（誤差は約0.07%）。SDXLなら5.1 GBが3.6 GBになります。メモリに収まらないときに選んでください。できたLoRAは16ビットのモデルでも使えます。LoHaには使えません。'
	},
	prompts: {
		original: '元の画像のプロンプト',
		target: '目標の画像のプロンプト',
		hint: '両方空にすると、トリガーワードの要らないLoRAになります。'
	},
	preview: {
		prompt: 'プレビューのプロンプト',
		negative: 'ネガティブプロンプト',
		seeds: 'プレビューのシード',
		strengths: '強さ',
		steps: '生成ステップ',
		cfg: 'CFG',
		sampler: 'サンプラー',
		every: 'プレビューの間隔',
		everyHint: '0で無効。1回ごとに画像1枚分の時間がかかります。',
		listHint: '数字をカンマで区切ります。'
	},
	samplers: { ddim: 'DDIM', euler_a: 'Euler a', dpmpp_2m: 'DPM++ 2M Karras' },
	saving: {
		every: '途中のLoRAの間隔',
		everyHint: '2段階目の途中のファイルを残します。0なら最後だけ。',
		snapshots: '再開用の保存の間隔',
		snapshotsHint: '中断しても続きから再開できるよう、このステップ数ごと（と1分ごと）に保存します。0 なら、画面を隠したときと一時停止のときだけ。',
		precision: 'ファイルの精度',
		precisions: { f16: '16 ビット', f32: '32 ビット' },
		keepCopier: 'コピー機もファイルに残す'
	},
	probe: { every: '定点観測の間隔', hint: '決まったノイズで損失を測ります。進み具合のいちばん確かな印です。0で無効。' }
};
