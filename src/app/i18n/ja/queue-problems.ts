/** キュー・途中保存・再開に関する問題の説明(日本語)。 */
import type { Problem } from '../../../service/protocol';
import type { ProblemTexts } from '../problems';

const at = (v: Problem['values'], key: string): string => String(v[key] ?? '');

export const queueProblemsJa: ProblemTexts = {
	'queue.memoryOnly': () => 'このブラウザにはキューを保存できません（プライベートウィンドウなど）。このタブを開いている間だけ有効です。',
	'queue.modelFile': (v) => `「${at(v, 'name')}」の場所をこのブラウザは覚えていません。ファイルを選び直すと、キューが続きます。`,
	'queue.permission': (v) => `「${at(v, 'name')}」を読む前に、もう一度ブラウザの許可が必要です。許可すると、キューが続きます。`,
	'queue.modelMoved': (v) => `「${at(v, 'name')}」が元の場所にありません。ファイルを選び直すと、キューが続きます。`,
	'queue.noPairs': (v) => `名前の終わりが「${at(v, 'suffix')}」の相手がいるファイルがありません（X.png と X${at(v, 'suffix')}.png）。`,
	'queue.sweepField': (v) => `「${at(v, 'field')}」という項目はありません。passes.difference.learningRate のようにレシピ内の場所を書いてください。`,
	'queue.sweepValues': () => '値をひとつ以上書いてください。',
	'resume.missing': () => '読める途中保存がないため、はじめから学習します。',
	'resume.otherRun': () => 'この途中保存は、レシピか画像かモデルが違う学習のものなので続けられません。同じものを使うか、はじめから学習してください。',
	'resume.otherDevice': (v) =>
		`前半は ${at(v, 'device')}（バージョン ${at(v, 'version')}）で学習しました。ここで続けると、結果の最後の桁が変わることがあります。`,
	'snapshot.full': () => '途中保存する空きがありません。学習は続きますが、中断すると今の続きからは再開できません。ディスクを空けてください。',
	'snapshot.failed': (v) => `途中保存できません（${at(v, 'detail')}）。学習は続きますが、中断すると今の続きからは再開できません。`
};
