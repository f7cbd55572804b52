/** English texts by room. The shape of this object is the dictionary's type: a key missing in another language does not compile. */
import { queueButtons } from './queue-buttons';
import { recipe } from './recipe';
import { run } from './run';
import { settings } from './settings';
import { shell } from './shell';
import { train } from './train';
import { tuning } from './tuning';

export const en = { shell, train, recipe, run, settings, queueButtons, tuning };
