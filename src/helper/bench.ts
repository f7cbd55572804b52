/** `utsushi bench`: measures this GPU with the bundled model (`bench/`), as a table or as JSON. */
import { benchText, runBench } from '../../bench/bench';
import { openFileAsBlob } from '../formats/node';
import { FAST_FLAGS } from '../gpu/node';
import { openModel } from '../jobs/model';
import { EXIT, type Context, type ExitCode } from './exit';
import { EXACT_TIMES, nodePlatform } from './platform';

export async function bench(command: { json: boolean; f32: boolean }, context: Context): Promise<ExitCode> {
	const { streams, installation } = context;
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
