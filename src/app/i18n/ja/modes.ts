/** 学習モードの説明と、モードごとの項目。 */
import type { modes as en } from '../en/modes';

export const modes: typeof en = {
	choose: '何を学習するか',
	names: { difference: '差分', addift: '高速差分（ADDifT）', multiAddift: '複数ペア', lora: 'LoRA（画像フォルダー）', leco: '言葉だけ（iLECO）' },
	needs: {
		difference: '画像2枚。1枚目をコピー機に覚えさせてから、2枚目との違いだけを学習します。時間はかかりますが、きれいに仕上がります。',
		addift: '画像2枚。コピー機を作らず1段階、30〜100ステップで終わります。ほかの部分も少し変わりやすい方法です。',
		multiAddift: 'ペア（X.png と X_t.png）のフォルダー。すべてのペアに共通する違いを学習します。',
		lora: '画像とキャプションのフォルダー。キャラクター、画風、物などを覚えさせます。',
		leco: '画像は要りません。モデルの中のある概念を別の概念に変えるか、忘れさせます。'
	},
	result: '学習結果',
	settings: '学習の設定',
	folder: {
		title: '画像',
		choose: '画像とキャプションを選ぶ',
		drop: '画像と .txt のキャプションをここにドロップするか、選んでください',
		found: (pictures, captions) => `画像 ${pictures} 枚、うちキャプションあり ${captions} 枚`,
		foundPairs: (pairs, pictures) => `${pairs} 組のペア（画像 ${pictures} 枚）`,
		none: 'まだ画像がありません。',
		reading: '画像を読み込んでいます',
		trigger: 'トリガーワード',
		triggerHint: 'すべてのキャプションの先頭に付き、あとでLoRAを呼び出す言葉になります。空ならなし。',
		captions: 'キャプション',
		captionKinds: { files: '.txt / .caption ファイルから', names: 'ファイル名から' },
		suffix: '目標画像の目印',
		suffixHint: '「_t」なら X.png と X_t.png がペアになります。',
		repeats: 'くり返し',
		repeatsHint: '1周のうちに、1枚を何回使うか。',
		bucketStep: 'バケットの刻み',
		bucketHint: '画像を振り分ける大きさの刻み（px）。0なら正方形ひとつだけです。',
		minSide: '短い辺の最小',
		maxRatio: '縦横比の上限',
		subImages: '追加の切り抜き',
		subHint: '1枚ごとに、小さめの大きさでもこの回数だけ使います。',
		mirror: '左右反転も使う',
		upscale: '小さい画像は拡大して使う',
		size: '大きさ（幅 × 高さ）',
		sizeHint: '1枚あたりの画素数の上限（px）です。'
	},
	words: {
		title: '概念',
		original: '変えたい概念',
		originalHint: '「blue hair」のようなプロンプト。モデルがこれを描こうとすると…',
		target: '変わった後',
		targetHint: '…代わりにこれを描くようになります。空なら、その概念を忘れます。',
		neutral: '「なし」の代わり',
		neutralHint: '変わった後が空のとき、「何もない」を表すプロンプト。普通は空のままで構いません。'
	},
	options: {
		title: 'このモードのオプション',
		copier: 'コピー機',
		copierUses: { train: '学習する', file: 'ファイルを使う' },
		copierHint: '同じ元画像のコピー機は使い回せます。1段階目を飛ばせます。',
		copierFile: 'コピー機のファイル',
		only: 'コピー機だけを作る',
		onlyHint: '1段階目で終わり、コピー機が結果になります。いくつもの目標画像に使い回すときに便利です。',
		chooseFile: 'ファイルを選ぶ',
		remove: '外す',
		noFile: 'なし',
		swap: '逆向きに学習する（元と目標を入れ替える）',
		mask: 'マスク',
		maskHint: '同じ大きさの白黒画像。白い所だけを学習します。',
		maskAlpha: '透明な部分は数えない',
		maskDifference: '2枚で同じ部分は数えない',
		maskRenormalise: '損失は数えた部分だけの平均にする',
		timesteps: 'タイムステップ',
		timestepKinds: { traintrain: 'TrainTrainの5点', random: '10区間から抽選' },
		timestepHint: 'TrainTrainは決まった5点を順に使い、同梱プリセットもそれで調整されています。',
		multiplier: '学習中の強さ',
		multiplierHint: '普通は0.25。強さ1で使うと、学習したときの4倍で効きます。',
		ratio: '逆向きステップの重み',
		ratioHint: '1なら同じ強さで、副作用が打ち消し合います。0ならなし。負ならノイズで「変えない」ことを学習します。',
		resume: 'LoRAの続きから',
		resumeHint: '新しいネットワークの代わりに、そのファイルの重みとrankから始めます。'
	},
	network: {
		kind: 'ネットワーク',
		kindHint: 'LoHa は同じ大きさでより高いrankを表せます。学習率は10分の1くらいが目安です。',
		kinds: { lierla: 'LoRA', loha: 'LoHa' },
		attention: 'アテンション',
		attentionHint: 'クロスはプロンプトへの従い方、セルフは絵の各部の関わり方。「すべて」はそれ以外も含みます。',
		attentions: { full: 'すべて', cross: 'クロスのみ', self: 'セルフのみ' },
		strength: '保存時の強さ',
		strengthHint: 'ファイルに焼き込みます。2なら、強さ1で使っても2のように効きます。',
		text: 'テキストエンコーダー',
		textHint: '言葉の意味も一緒に学習します（ブロックBASE）。新しいトリガーワードに効きますが、画像が少ないと周りの言葉まで崩れやすくなります。',
		textOff: 'そのまま',
		textOn: '一緒に学習する',
		textRate: 'その学習率',
		textRateHint: '0ならUNetと同じ。半分から10分の1くらいが目安です。',
		blocks: 'ブロックを文字で',
		blocksHint:
			'グループ（all, attention, face, in, mid, out, deep, fine）、名前や範囲（OUT03-05）、除くときは「-M00」。12・17・20・26個の数字の並びも使えます。',
		blocksBad: {
			unknown: (entry) => `「${entry}」というブロックやグループはありません。`,
			length: (entry) => `数字は12・17・20・26個のどれかです（${entry} 個あります）。`,
			empty: 'ブロックを1つ以上残してください。'
		}
	},
	live: {
		strengths: 'ライブ: 強さ',
		strengthsHint: '学習中に表示するLoRAの強さ。例: 0.5, 1, 1.5',
		seeds: 'ライブ: シード',
		seedsHint: '空なら、プレビューの最初のシード。',
		cost: (each, total) => `1回に ${each} 枚、全部で ${total} 枚。描いている間、学習は止まります。強さ0は最初に1度だけ描きます。`
	},
	open: {
		drop: 'レシピや TrainTrain のプリセット（.json）を開く',
		opened: (name) => `${name} を開きました。`,
		bad: (name) => `${name} を開けませんでした`,
		exportRecipe: 'レシピを保存',
		exportPreset: 'TrainTrain のプリセットとして保存',
		lost: (fields) => `TrainTrain に当たる設定がないもの: ${fields}`
	}
};
