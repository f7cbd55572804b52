import { describe, expect, test } from 'vitest';
import { groupByRun } from '../../../src/app/library/groups';
import type { LibraryEntry } from '../../../src/storage/library';

function entry(id: string, run: string, role: LibraryEntry['role'], step: number): LibraryEntry {
	return { id, run, role, step, name: `${id}.safetensors`, created: 0, bytes: 1, family: 'mini', recipe: null, metadata: {}, previews: [], kept: 'opfs' };
}

describe('the library by run', () => {
	test('each run stands for its result; what came on the way follows, latest first', () => {
		const groups = groupByRun([
			entry('b-result', 'b', 'result', 150),
			entry('b-100', 'b', 'intermediate', 100),
			entry('a-result', 'a', 'result', 10),
			entry('b-copier', 'b', 'copier', 300),
			entry('b-50', 'b', 'intermediate', 50)
		]);
		expect(groups.map(({ main, others }) => [main.id, others.map((other) => other.id)])).toEqual([
			['b-result', ['b-copier', 'b-100', 'b-50']],
			['a-result', []]
		]);
	});

	test('a run that was cut off stands for its newest file; files without a run stand alone', () => {
		const groups = groupByRun([
			entry('c-20', 'c', 'intermediate', 20),
			entry('c-10', 'c', 'intermediate', 10),
			entry('x', '', 'result', 0),
			entry('y', '', 'result', 0)
		]);
		expect(groups.map(({ main }) => main.id)).toEqual(['c-20', 'x', 'y']);
		expect(groupByRun([])).toEqual([]);
	});
});
