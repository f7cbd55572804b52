import { describe, expect, it } from 'vitest';
import { csvLog, LogPoints, pythonFloat } from '../../../src/recipe/csv-log';
import { defaultRecipe } from '../../../src/recipe/defaults';
import { defaultOptimizer } from '../../../src/recipe/optimizers';

describe('the CSV log', () => {
	const recipe = defaultRecipe('sdxl');
	recipe.name = 'a, "b"';
	Object.assign(recipe.passes.copier, { rank: 8, alpha: 4, learningRate: 5e-5, iterations: 20, optimizer: defaultOptimizer('came') });
	recipe.passes.copier.schedule = { kind: 'cosineAnnealing', warmup: 0, minRate: 1e-5 };

	it('is laid out as TrainTrain has it, line ends included', () => {
		const { name, text } = csvLog(recipe, 'copier', [
			{ step: 1, lossAverage: 0.25, learningRate: 5e-5 },
			{ step: 2, lossAverage: 1, learningRate: 1.25e-7 }
		]);
		expect(name).toBe('a, "b"_copy.csv');
		expect(text).toBe(
			[
				'network_rank,8',
				'network_alpha,4.0',
				'train_learning_rate,5e-05',
				'train_iterations,20',
				'train_lr_scheduler,cosine_annealing',
				'model_version,sdxl_base_v1-0',
				'train_optimizer,came',
				'save_lora_name,"a, ""b"""',
				'Step,Loss,Learning Rate 1',
				'1,0.25,5e-05',
				'2,1.0,1.25e-07',
				''
			].join('\r\n')
		);
	});

	it.each([
		[0, '0.0'],
		[1e-4, '0.0001'],
		[9.9e-5, '9.9e-05'],
		[-2.5e-10, '-2.5e-10'],
		[1e16, '1e+16'],
		[1234.5, '1234.5'],
		[NaN, 'nan'],
		[-Infinity, '-inf']
	])('%d reads %s, as in Python', (value, text) => expect(pythonFloat(value)).toBe(text));

	it('goes on behind what an interrupted run did, with its average and rates', () => {
		const log = new LogPoints();
		log.before(recipe, 'copier', [1, NaN, 2]);
		log.add('copier', { step: 4, lossAverage: 3, learningRate: 0.5 });
		const rows = log.files(recipe)[0]!.text.split('\r\n').slice(9, -1);
		expect(rows.map((row) => row.split(',').slice(0, 2))).toEqual([
			['1', '1.0'],
			['2', '1.0'],
			['3', '1.1'],
			['4', '3.0']
		]);
		expect(rows[0]).toBe('1,1.0,5e-05');
	});

	it('has every step once, also after a rollback', () => {
		const log = new LogPoints();
		const point = (step: number, lossAverage: number) => log.add('difference', { step, lossAverage, learningRate: 1 });
		for (const step of [1, 2, 3, 4]) point(step, step);
		for (const step of [3, 4, 5]) point(step, step * 10);
		const [file, ...others] = log.files(recipe);
		expect(others).toEqual([]);
		expect(file?.name).toBe('a, "b".csv');
		expect(file?.text.split('\r\n').slice(9, -1)).toEqual(['1,1.0,1.0', '2,2.0,1.0', '3,30.0,1.0', '4,40.0,1.0', '5,50.0,1.0']);
	});
});
