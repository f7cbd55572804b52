/** `utsushi bench`: measures this GPU with the bundled model (`bench/`), as a table or as JSON. */
import { benchText, runBench } from '../../bench/bench';
import { openFileAsBlob } from '../formats/node';
import { FAST_FLAGS } from '../gpu/node';
import { openModel } from '../jobs/model';
import { measureHere } from '../service/tuning';
import { EXIT, type Context, type ExitCode } from './exit';
import { EXACT_TIMES, nodePlatform } from './platform';

/** `--tune`: what the Settings page's button does, for this computer's command line and helper. */
async function tune(json: boolean, { streams }: Context): Promise<ExitCode> {
	const platform = nodePlatform([...FAST_FLAGS, EXACT_TIMES]);
	const gpu = await platform.openGpu();
	try {
		const { classes, seconds } = await measureHere(gpu, await platform.openTuning?.());
		if (json) streams.out(`${JSON.stringify({ seconds, classes }, null, '\t')}\n`);
		else {
			const rows = classes.map(({ form, m, n, k, best, heuristic }) => {
				const gain = (best.tflops / heuristic.tflops).toFixed(2);
				return `  ${form.padEnd(38)}${`${m}×${n}×${k}`.padEnd(18)}${best.tile.padEnd(28)}${best.tflops.toPrecision(3).padStart(8)} TFLOP/s  ×${gain}\n`;
			});
			streams.out(
				`The quickest tiles on ${gpu.adapter.description || gpu.adapter.device}, and how much quicker than the rule's, measured in ${seconds.toFixed(1)} s:\n${rows.join('')}`
			);
		}
		return EXIT.done;
	} finally {
		gpu.close();
	}
}

export async function bench(command: { json: boolean; f32: boolean; tune: boolean }, context: Context): Promise<ExitCode> {
	const { streams, installation } = context;
	if (command.tune) return tune(command.json, context);
	const model = await openModel('bench', 'mini', await openFileAsBlob(installation.bundled('models/mini.safetensors')));
	const gpu = await nodePlatform([...FAST_FLAGS, EXACT_TIMES]).openGpu();
	try {
		const report = await runBench(gpu, model, command.f32 ? 'f32' : 'f16', (label) => {
			if (streams.terminal) streams.err(`\r\u001b[2K${label}…`);
		});
		if (streams.terminal) streams.err('\r\u001b[2K');
		streams.out(command.json ? `${JSON.stringify(report, null, '\t')}\n` : benchText(report));
		return EXIT.done;
	} finally {
		model.release();
		gpu.close();
	}
}
