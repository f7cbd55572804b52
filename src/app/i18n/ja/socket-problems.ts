/** ヘルパーとの接続・ペアリングに関する問題の説明(日本語)。 */
import type { Problem } from '../../../service/protocol';
import type { ProblemTexts } from '../problems';

const at = (v: Problem['values'], key: string): string => String(v[key] ?? '');

export const socketProblemsJa: ProblemTexts = {
	'helper.unreachable': () =>
		'ヘルパーから返事がありません。このパソコンで「utsushi serve」を実行してください。動いているのにつながらないときは、ブラウザが接続を止めたか、このページのアドレスがヘルパーで許可されていません。',
	'helper.strange': () => 'このアドレスで返事をしたのは Utsushi のヘルパーではありません。ポート番号を確かめてください。',
	'helper.closed': () => 'ヘルパーとの接続を閉じました。',
	'helper.trainerDied': (v) =>
		`ヘルパーの学習エンジンが止まりました（${at(v, 'detail')}）。次に使うときに自動で起動し直します。学習中だったものは、最後の途中保存から続けられます。`,
	'helper.interrupted': () => '学習の途中でヘルパーが終了しました。それまでにできたものは残っています。もう一度始めると、最後の途中保存から続きます。',
	'helper.logFailed': (v) =>
		`この実行の記録をヘルパーのディスクに書けません（${at(v, 'detail')}）。学習は続きます。空きを作り、ヘルパーを終了する前に結果をダウンロードしてください。`,
	'helper.eventLost': () => 'この実行の記録の一部を、ヘルパーのディスクから読めなくなりました。',
	'helper.replyLost': () => '大きな返事が届く前に接続が切れました。もう一度お試しください。',
	'helper.resultTooLarge': (v) => `結果が大きすぎて（${at(v, 'megabytes')} MB）一度には送れません。実行の記録を最初から受け取ると、ひとつずつ届きます。`,
	'helper.uploadTooLarge': (v) =>
		`${at(v, 'megabytes')} MB は大きすぎてヘルパーに送れません（${at(v, 'limit')} MB まで）。ヘルパーのフォルダに入れて、名前で選んでください。`,
	'helper.tooManyRuns': (v) => `同時に受け取れる実行は ${at(v, 'limit')} 件までです。`,
	'pairing.code': () => 'このペアリングコードは使えません（1回だけ、10分間有効です）。「utsushi pair」で新しいコードを表示し、それを入力してください。',
	'pairing.wait': (v) => `コードの間違いが続きました。${at(v, 'seconds')} 秒待ってから「utsushi pair」で新しいコードを表示し、それを入力してください。`,
	'pairing.token': () => 'このページはヘルパーとペアリングされていません（または取り消されました）。「utsushi pair」でコードを表示し、ここに入力してください。',
	'protocol.helperVersion': (v) =>
		`アプリ（通信の版 ${at(v, 'version')}）とヘルパー（版 ${at(v, 'own')}）のバージョンが違います。古いほうを更新してください（ページの再読み込み、または新しい Utsushi のインストール）。`,
	'request.invalid': (v) =>
		`ヘルパーがこの依頼を理解できません（${at(v, 'field')}）。アプリとヘルパーのバージョンが違うかもしれません。ページを再読み込みしてください。`,
	'run.unknown': () => 'ヘルパーはこの実行を（もう）覚えていません。実行の一覧を見てください。',
	'shelf.notLora': (v) => `「${at(v, 'name')}」は普通の大きさの LoRA ではないため、送れません。名前で選んで開いてください。`,
	'trainer.helperOnly': () => 'これはヘルパーだけができることです。',
	'wire.malformed': (v) => `ヘルパーとの通信に読めないメッセージがありました（${at(v, 'detail')}）。`,
	'wire.tooLarge': (v) =>
		`メッセージが大きすぎます（${at(v, 'bytes')} バイト、上限 ${at(v, 'limit')}）。大きなモデルは送らず、ヘルパーのフォルダに入れてください。`,
	'wire.busy': () => 'ヘルパーは一度に受け取りすぎています。少し待ってからもう一度お試しください。',
	'wire.stalled': () => '接続の相手が止まっているため、接続を閉じました。自動でつなぎ直せます。'
};
