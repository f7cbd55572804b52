/** 日本語の文言。英語の辞書と同じ形であることを型が保証する。 */
import type { en } from '../en/index';
import { queueButtons } from './queue-buttons';
import { recipe } from './recipe';
import { run } from './run';
import { settings } from './settings';
import { shell } from './shell';
import { train } from './train';
import { tuning } from './tuning';

export const ja: typeof en = { shell, train, recipe, run, settings, queueButtons, tuning };
