/** ファイル・モデル・GPU・学習の実行に関する問題の説明(日本語)。 */
import type { Problem } from '../../../service/protocol';
import type { ProblemTexts } from '../problems';

const at = (v: Problem['values'], key: string): string => String(v[key] ?? '');
const again = 'ダウンロードし直してください。';
const checkpoint = 'Stable Diffusion 1.5 か SDXL の .safetensors を選んでください。';
const cannotTrain = (kind: string) => (): string => `${kind}のモデルは、ここでは学習できません。${checkpoint}`;
const damaged = (): string => `ファイルが壊れています。${again}`;

export const fileProblemsJa: ProblemTexts = {
	'file.empty': () => `ファイルが空（0バイト）です。${again}`,
	'file.truncated': () => `ファイルが途中で切れています。${again}`,
	'file.trailing-data': damaged,
	'file.header-size': damaged,
	'file.header-json': damaged,
	'file.header-entry': damaged,
	'file.duplicate-key': damaged,
	'file.shape': damaged,
	'file.offsets': damaged,
	'file.dtype': () => '対応していない数値形式です。F16・BF16・F32 に変換してください。',
	'file.missing-tensor': () => `必要なデータが足りません。${checkpoint}`,
	'file.lfs-pointer': () =>
		'モデル本体ではなく Git LFS の目印ファイルです。本体をダウンロードしてください（git lfs pull か、配布ページのダウンロードボタン）。',
	'file.pickle': () => '.ckpt・.pt（pickle形式）は、開くだけでプログラムが動くおそれがあるため読みません。.safetensors 版を使ってください。',
	'file.gguf': () => `GGUF（量子化）モデルは学習できません。${checkpoint}`,
	'file.html': () => 'モデルではなくWebページです。配布ページでログインや同意をしてから、ダウンロードし直してください。',
	'file.not-safetensors': () => `safetensors ファイルではありません。${checkpoint}`,
	'file.is-lora': () => 'これはLoRAで、モデルではありません。元になったモデルを選んでください。',
	'file.not-vae': () =>
		'このファイルにVAEは入っていません。WebUIやComfyUIで使う1ファイルのVAE（.safetensors）を選ぶか、指定を外してください。モデルには自分のVAEが入っています。',
	'file.is-vae': () => `これはVAEだけのファイルです。${checkpoint}`,
	'file.is-diffusers': () => 'diffusers 形式の一部です。1ファイルにまとまったモデルを選んでください。',
	'file.is-unet-only': () => 'UNetだけのファイルです。VAEとテキストエンコーダーも入った1ファイルのモデルを選んでください。',
	'file.is-sd2': cannotTrain('Stable Diffusion 2 '),
	'file.is-sd3': cannotTrain('Stable Diffusion 3 '),
	'file.is-flux': cannotTrain('Flux '),
	'file.is-refiner': cannotTrain('SDXL リファイナー'),
	'file.is-inpainting': cannotTrain('インペイント用'),
	'file.unknown-model': () => `知らない構造のモデルです。${checkpoint}`,
	'file.incomplete-model': () => 'モデルの一部が足りません。UNet・VAE・テキストエンコーダーが1つに入ったファイルを選んでください。',
	'model.family': () => 'レシピと開いているモデルの種類が違います。その種類のモデルを開くか、このモデル用のプリセットを選んでください。',
	'model.closed': () => 'モデルが閉じられています。もう一度開いてください。',
	'model.notLoaded': (v) => `同梱のモデルを読み込めませんでした（${at(v, 'detail')}）。一度オンラインで開けば、その後はオフラインでも使えます。`,
	'model.origin': () => 'モデルはこのパソコンか Utsushi 自身からだけ読み込みます。',
	'model.unreadable': () => `このモデルは読めませんでした。${again}`,
	'pair.empty': () => '画像に中身がありません。別の画像を選んでください。',
	'pair.same': () => '2枚がまったく同じなので、学ぶ差分がありません。目標には変化させた画像を選んでください。',
	'pair.tooLarge': (v) => `${at(v, 'width')} × ${at(v, 'height')} px は大きすぎます。一辺 ${at(v, 'limit')} px までです。`,
	'gpu.insecure': () => 'WebGPU は https か、このパソコン自身（http://127.0.0.1）でしか使えません。',
	'gpu.missing': () => 'このブラウザには WebGPU がありません。新しい Chrome・Edge・Safari 26・Firefox を使い、GPUドライバーを更新してください。',
	'gpu.unavailable': () => 'GPUが見つからないか、使用を断られました。ドライバーを更新するか、ブラウザを再起動してください。',
	'gpu.lost': () => 'GPUが途中で応答しなくなりました。それまでのファイルは残っています。ほかの重いアプリを閉じ、バッチを小さくして、もう一度試してください。',
	'gpu.memory': () => 'GPUのメモリが足りません。GPU上の保存精度を16ビットにするか、バッチや画像を小さくしてください。',
	'gpu.shader': () => 'GPUプログラムを準備できませんでした。ブラウザとドライバーを更新してください。',
	'gpu.validation': () => 'GPUの命令が受け付けられませんでした。ブラウザとドライバーを更新してください。',
	'run.busy': () => 'GPUは使用中です。終わるのを待つか、先に止めてください。',
	'run.used': () => 'この実行はもう終わっています。もう一度始めてください。',
	'run.cancelled': () => '生成を止めました。',
	'lora.notFinite': () => '結果に無限大か NaN が含まれています。学習が崩壊したので、学習率か alpha を下げてください。',
	'file.not-png': () => 'PNG の画像ではありません。PNG で保存し直してください。',
	'file.animated': () => 'アニメーションです。使いたい1コマを静止画で保存してください。',
	'file.too-large': (v) => `${at(v, 'width')} × ${at(v, 'height')} px は大きすぎます。一辺 ${at(v, 'limit')} px までにしてください。`,
	'file.corrupt': () => '画像が壊れています。保存し直してください。',
	'file.unsupported-png': () => 'この形式の PNG は読めません。インターレースなしで保存し直してください。',
	'file.text-chunk': () => '画像に付いた文字情報が壊れています。',
	'gpu.binding': (v) =>
		`この学習には ${at(v, 'needed')} MB の配列が要りますが、このGPUが一度に扱えるのは ${at(v, 'limit')} MB までです。画像やバッチを小さくしてください。`,
	'training.diverged': (v) => `勾配が無限大のままで、学習が発散しました（${at(v, 'step')} ステップ）。学習率（${at(v, 'rate')}）を下げてください。`,
	'sample.size': (v) => `${at(v, 'width')} × ${at(v, 'height')} では生成できません。縦横とも ${at(v, 'multiple')} の倍数にしてください。`,
	'sample.steps': (v) => `${at(v, 'steps')} ステップでは生成できません。1〜1000 にしてください。`,
	'sample.cfg': (v) => `CFG ${at(v, 'cfg')} は使えません。0 以上にしてください。`,
	'lora.notLora': () => 'LoRAではありません。lora_down と lora_up の入った .safetensors を選んでください。',
	'lora.dora': () => 'DoRA なので、ここでは使えません。普通の LoRA を選んでください。',
	'lora.otherKind': (v) => `${at(v, 'kind')} なので、ここでは使えません。普通の LoRA か LoCon を選んでください。`,
	'lora.incomplete': () => `LoRA の一部が足りません。${again}`,
	'lora.shape': () => 'LoRA の形が合いません。壊れているか、普通の LoRA ではありません。',
	'lora.otherModel': (v) => `この LoRA は別のモデル（${at(v, 'looksLike')}）用です。そのモデルを開くか、別の LoRA を選んでください。`,
	'lora.partlyOther': (v) =>
		`この LoRA の ${at(v, 'total')} 個中 ${at(v, 'unmatched')} 個が、開いているモデルに合いません。作られた元のモデルを開いてください。`,
	'lora.textEncoderIgnored': () => 'この LoRA のテキストエンコーダー部分は使いません（UNet 部分だけ効きます）。',
	'lora.foreign': (v) => `この LoRA は、Utsushi で学習できないモデル（${at(v, 'looksLike')}）用です。`,
	'lora.unknownTensors': (v) => `名前の分からないデータが ${at(v, 'tensors')} 個あり、使いません。`,
	'protocol.version': () => 'ページと学習エンジンのバージョンが違います。再読み込みしてください。'
};
