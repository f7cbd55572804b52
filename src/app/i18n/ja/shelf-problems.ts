/** ヘルパーのモデルフォルダに関する問題の説明(日本語)。 */
import type { Problem } from '../../../service/protocol';
import type { ProblemTexts } from '../problems';

const at = (v: Problem['values'], key: string): string => String(v[key] ?? '');

export const shelfProblemsJa: ProblemTexts = {
	'folder.missing': (v) =>
		`ヘルパーのモデルフォルダ「${at(v, 'path')}」が見つかりません。ディスクをつなぐか、パスを確かめてください。不要なら「utsushi models remove」で外せます。`,
	'folder.file': (v) => `「${at(v, 'path')}」はフォルダではなくファイルです。モデルの入ったフォルダを指定してください。`,
	'folder.forbidden': (v) => `モデルフォルダ「${at(v, 'path')}」を読む権限がありません。権限を変えるか、持ち主のユーザーでヘルパーを起動してください。`,
	'folder.unreadable': (v) => `モデルフォルダ「${at(v, 'path')}」を読めません（${at(v, 'detail')}）。`,
	'folder.empty': (v) => `モデルフォルダ「${at(v, 'path')}」には .safetensors ファイルがありません。`,
	'folder.links': (v) =>
		`設定したフォルダの外を指すリンクが ${at(v, 'count')} 個あり、一覧に含めていません。使うには、リンク先のフォルダを「utsushi models add」で追加してください。`,
	'folder.tooMany': (v) => `一覧は最初の ${at(v, 'limit')} ファイルまでです。上の階層ではなく、モデルの入ったフォルダを指定してください。`,
	'queue.modelThere': (v) => `「${at(v, 'name')}」は大きすぎてヘルパーに送れません。ヘルパーのフォルダに置けば（utsushi models add）、名前で見つかります。`,
	'queue.modelHere': (v) =>
		`「${at(v, 'name')}」はヘルパーのフォルダにあり、この画面からは読めません。学習 › モデルで「ここ」を選び、同じファイルを選んでから移してください。`,
	'helper.unpaired': () => 'この画面はまだヘルパーとペアリングしていません。「ヘルパー」の画面を開き、ターミナルのコードを入力してください。',
	'shelf.gone': (v) =>
		`${at(v, 'name') === '' ? 'このモデル' : `「${at(v, 'name')}」`}は、もうヘルパーのフォルダにありません。一覧を読み直して選び直してください。`
};
