/** ファイル・モデル・GPU・学習の実行に関する問題の説明(日本語)。 */
import type { Problem } from '../../../service/protocol';
import type { ProblemTexts } from '../problems';

const at = (v: Problem['values'], key: string): string => String(v[key] ?? '');
const again = 'ダウンロードし直してください。';
const checkpoint = 'Stable Diffusion 1.5 か SDXL の .safetensors を選んでください。';
const cannotTrain = (kind: string) => (): string => `${kind}のモデルは、ここでは学習できません。${checkpoint}`;
const damaged = (): string => `ファイルが壊れています。${again}`;

export const fileProblemsJa: ProblemTexts = {
	empty: () => `ファイルが空（0バイト）です。${again}`,
	truncated: () => `ファイルが途中で切れています。${again}`,
	'trailing-data': damaged,
	'header-size': damaged,
	'header-json': damaged,
	'header-entry': damaged,
	'duplicate-key': damaged,
	shape: damaged,
	offsets: damaged,
	dtype: () => '対応していない数値形式です。F16・BF16・F32 に変換してください。',
	'missing-tensor': () => `必要なデータが足りません。${checkpoint}`,
	'lfs-pointer': () => 'モデル本体ではなく Git LFS の目印ファイルです。本体をダウンロードしてください（git lfs pull か、配布ページのダウンロードボタン）。',
	pickle: () => '.ckpt・.pt（pickle形式）は、開くだけでプログラムが動くおそれがあるため読みません。.safetensors 版を使ってください。',
	gguf: () => `GGUF（量子化）モデルは学習できません。${checkpoint}`,
	html: () => 'モデルではなくWebページです。配布ページでログインや同意をしてから、ダウンロードし直してください。',
	'not-safetensors': () => `safetensors ファイルではありません。${checkpoint}`,
	'is-lora': () => 'これはLoRAで、モデルではありません。元になったモデルを選んでください。',
	'is-vae': () => `これはVAEだけのファイルです。${checkpoint}`,
	'is-diffusers': () => 'diffusers 形式の一部です。1ファイルにまとまったモデルを選んでください。',
	'is-unet-only': () => 'UNetだけのファイルです。VAEとテキストエンコーダーも入った1ファイルのモデルを選んでください。',
	'is-sd2': cannotTrain('Stable Diffusion 2 '),
	'is-sd3': cannotTrain('Stable Diffusion 3 '),
	'is-flux': cannotTrain('Flux '),
	'is-refiner': cannotTrain('SDXL リファイナー'),
	'is-inpainting': cannotTrain('インペイント用'),
	'is-v-prediction': cannotTrain('v-prediction '),
	'unknown-model': () => `知らない構造のモデルです。${checkpoint}`,
	'incomplete-model': () => 'モデルの一部が足りません。UNet・VAE・テキストエンコーダーが1つに入ったファイルを選んでください。',
	'model.notYet': () => 'この種類のモデルは中身を見ることはできますが、学習と生成にはまだ対応していません。SD 1.5 のモデルか同梱のミニモデルを使ってください。',
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
	unavailable: () => 'GPUが見つからないか、使用を断られました。ドライバーを更新するか、ブラウザを再起動してください。',
	lost: () => 'GPUが途中で応答しなくなりました。それまでのファイルは残っています。ほかの重いアプリを閉じ、バッチを小さくして、もう一度試してください。',
	memory: () => 'GPUのメモリが足りません。GPU上の保存精度を16ビットにするか、バッチや画像を小さくしてください。',
	shader: () => 'GPUプログラムを準備できませんでした。ブラウザとドライバーを更新してください。',
	validation: () => 'GPUの命令が受け付けられませんでした。ブラウザとドライバーを更新してください。',
	'run.busy': () => 'GPUは使用中です。終わるのを待つか、先に止めてください。',
	'run.used': () => 'この実行はもう終わっています。もう一度始めてください。',
	'run.cancelled': () => '生成を止めました。',
	'lora.notFinite': () => '結果に無限大か NaN が含まれています。学習が崩壊したので、学習率か alpha を下げてください。',
	'protocol.version': () => 'ページと学習エンジンのバージョンが違います。再読み込みしてください。'
};
