/** 学習の画面(開始まで): モデル・ペア・開始。 */
import type { en } from '../en/index';

export const train: (typeof en)['train'] = {
	title: '学習',
	lead: '2枚の画像から、その差分だけを学んだ小さなLoRAを作ります。画像もモデルもこのパソコンの外には出ません。',
	model: {
		title: 'モデル',
		mini: 'ミニモデル',
		miniHint: '128 px のアニメ顔を描きます。学習は数分で終わります。',
		own: '自分のモデル',
		ownHint: 'SD 1.5 か SDXL の .safetensors。送信はしません。',
		choose: 'ファイルを選ぶ',
		drop: 'またはここにドロップ',
		other: '別のファイル',
		families: { mini: 'ミニ（SD 1.5 構造）', sd15: 'Stable Diffusion 1.5', sdxl: 'SDXL' },
		mismatch: (family, name) =>
			`このレシピは ${family}${name ? `（${name}）` : ''} 用です。その種類のモデルを選ぶか、上のモデルを押すとそのモデル用の設定に変わります。`,
		opening: '開いています…',
		download: 'このサイトから取得中',
		ready: '準備完了',
		notOpened: '同梱',
		facts: (family, parameters, size) => `${family} · UNet ${parameters} パラメータ · ${size}`,
		modules: (linear, conv) => `LoRAが付く場所 ${linear}（畳み込みも含めると ${conv}）· `,
		resolution: (pixels) => `学習解像度 ${pixels} px`,
		vPrediction: ' · v-prediction'
	},
	pair: {
		title: 'ペア',
		original: '元の画像',
		target: '目標の画像',
		views: { side: '並べる', compare: '重ねて比較', difference: '違い' },
		viewLabel: 'ペアの見せ方',
		compareLabel: '元の画像を見せる割合',
		sampleView: '向き',
		directions: { front: '正面', left: '左', right: '右' },
		sampleMouth: '口の形',
		mouths: { a: 'あ', i: 'い', u: 'う', e: 'え', o: 'お' },
		sampleName: (direction, mouth) => `${direction}・口の形「${mouth}」`,
		choose: '選ぶ',
		chooseOriginal: '元の画像を選ぶ',
		chooseTarget: '目標の画像を選ぶ',
		drop: 'ここに画像をドロップするか、選んでください',
		swap: '入れ替え',
		swapLabel: '元の画像と目標の画像を入れ替える',
		size: (width, height) => `${width} × ${height} px`,
		same: '2枚がまったく同じなので、学ぶものがありません。',
		differs: (share) => `画像の ${share} が違います。`,
		differsWide: (share) => `画像の ${share} が違います。狙った部分だけでなく違うところはすべて学ばれるので、ほかは同じにしてください。`,
		heatText: (share, left, top, right, bottom) => `画像の ${share} が違います。範囲は左から ${left}〜${right}、上から ${top}〜${bottom} です。`,
		fit: (width, height) => `2枚とも ${width} × ${height} に切り抜いて縮小・拡大`,
		fitted: (width, height) => `2枚とも ${width} × ${height} に切り抜いて縮小・拡大しました。`,
		flatten: '2枚とも白い背景にする',
		reading: '画像を読み込み中'
	},
	start: {
		title: '開始',
		start: '学習を始める',
		opening: 'モデルを開いています…',
		name: 'LoRAの名前',
		memory: 'GPUメモリ',
		memoryFirst: 'モデルを開くと計画',
		memoryKinds: '内訳',
		planning: '計画中…',
		kinds: { weights: 'モデル', activations: '中間データ', factors: 'LoRA', optimizer: 'オプティマイザ', decoder: 'プレビューの復号器', staging: '転送用' },
		encoding: '画像の符号化',
		strip: '最後の画像',
		inTurn: 'これらは順番に行われるので、必要なのは合計ではなく、いちばん大きい値です。',
		previewsOn: {
			gpu: '途中のプレビューは、学習が待っている間に中間データの場所を使ってGPUで復号します。',
			cpu: '途中のプレビューはCPUで復号します。'
		},
		again: (percent) => `メモリを節約するため、計算の ${percent} % をもう一度行います。結果は変わりません。`,
		passMemory: (pass, total) => `${pass} ${total}`,
		file: 'ファイル',
		time: '時間',
		timeUnknown: '開始後に測ります',
		timeAbout: (time) => `約 ${time}（前回の実測から）`,
		steps: 'ステップ',
		dispatches: (n) => `1ステップのGPU命令 ${n}`,
		see: (n) => `先に直すところが ${n} つあります`
	},
	gpu: {
		missing: 'このブラウザからはGPUを使えません',
		missingLead: 'Utsushi は WebGPU で学習しますが、ここでは使えないか、無効になっています。',
		steps: {
			chrome:
				'Chrome・Edge 121 以降（Windows・macOS・ChromeOS・Android）では最初から有効です。ブラウザを更新し、設定の「システム」で「グラフィック アクセラレーションが使用可能な場合は使用する」がオンか確かめてください。',
			linux: 'Linux の Chrome: chrome://flags で「Unsafe WebGPU Support」と「Vulkan」を有効にして再起動してください。',
			safari: 'Safari 26 以降（macOS・iOS・iPadOS）では最初から有効です。',
			firefox:
				'Firefox は Windows 版 141 以降、Apple シリコンの macOS 版 145 以降で使えます。ほかでは about:config で dom.webgpu.enabled を true にしてください。'
		},
		noAdapter: 'WebGPU はありますが、GPUが応答しません',
		noAdapterLead:
			'ドライバーが古いか、ブラウザに制限されている可能性があります。ドライバーを更新して chrome://gpu を確認するか、ドライバーが落ちた後ならブラウザを再起動してください。',
		insecure: 'WebGPU には安全なページが必要です。https か 127.0.0.1 で開いてください。',
		stillUsable: '画面を見て回ること、リンクからレシピを開くこと、ライブラリを使うことはできます。',
		software: 'ソフトウェアのアダプターです。すべてCPUで計算するので、動きますが何倍も時間がかかります。'
	},
	link: {
		opened: 'リンクからレシピを開きました。',
		bad: 'このリンクのレシピは開けませんでした'
	}
};
