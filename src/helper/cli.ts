/**
 * Entry of the command line, built into `dist/cli` and started by `bin/utsushi.mjs`. Maps commands to their files and errors to exit
 * codes: 0 done, 1 something failed, 2 wrong use or bad input. Commands are loaded when they are used, so `--help` needs no GPU library.
 */
import { availableParallelism } from 'node:os';
import { ProblemError } from '../jobs/problem';
import { tellCores } from '../onnx/session';
import { asProblem } from '../service/errors';
import type { Problem } from '../service/protocol';
import { parseArguments, UsageError, type Command } from './arguments';
import { EXIT, isInputProblem, type Context, type ExitCode } from './exit';
import { helpText } from './help';
import { InputError } from './inputError';
import { installationAt } from './installation';
import { problemLine, type Streams } from './output';
import { pair } from './pair';

async function dispatch(command: Command, context: Context): Promise<ExitCode> {
	tellCores(availableParallelism());
	switch (command.name) {
		case 'help':
			context.streams.out(`${helpText(command.topic)}\n`);
			return EXIT.done;
		case 'version':
			context.streams.out(`${context.installation.version}\n`);
			return EXIT.done;
		case 'serve':
			return (await import('./serve')).serve(command, context);
		case 'pair':
			return pair(command, context);
		case 'train':
			return (await import('./train')).train(command, context);
		case 'sample':
			return (await import('./sample')).sample(command, context);
		case 'plot':
			return (await import('./plot')).plot(command, context);
		case 'merge':
			return (await import('./merge')).merge(command, context);
		case 'resize':
			return (await import('./resize')).resize(command, context);
		case 'extract':
			return (await import('./extract')).extract(command, context);
		case 'recipe':
			return (await import('./recipe')).recipe(command, context);
		case 'models':
			return (await import('./modelsCommand')).models(command, context);
		case 'inspect':
			return (await import('./inspect')).inspect(command, context);
		case 'bench':
			return (await import('./bench')).bench(command, context);
	}
}

function report(problems: readonly Problem[], json: boolean, streams: Streams): void {
	for (const problem of problems) {
		if (json) streams.out(`${JSON.stringify({ type: 'problem', problem })}\n`);
		else streams.err(`${problemLine(problem)}\n`);
	}
}

function onInterrupt(listener: (count: number) => void): () => void {
	let count = 0;
	const handler = (): void => {
		count++;
		if (count > 1) process.exit(EXIT.failed);
		listener(count);
	};
	process.on('SIGINT', handler);
	process.on('SIGTERM', handler);
	return () => {
		process.off('SIGINT', handler);
		process.off('SIGTERM', handler);
	};
}

const STREAMS: Streams = {
	out: (text) => void process.stdout.write(text),
	err: (text) => void process.stderr.write(text),
	terminal: process.stderr.isTTY,
	columns: () => process.stderr.columns ?? 80
};

/** @param words behind `utsushi`; @param root the folder of the package. Returns the exit code. */
export async function main(words: readonly string[], root: string): Promise<ExitCode> {
	// A reader that closed the pipe (`utsushi … | head`) wants no more; that is no error of ours.
	process.stdout.on('error', () => process.exit(EXIT.done));
	let json = false;
	try {
		const command = parseArguments(words);
		json = 'json' in command && command.json;
		return await dispatch(command, { streams: STREAMS, installation: installationAt(root), onInterrupt });
	} catch (error) {
		if (error instanceof UsageError) {
			STREAMS.err(`${error.message}\n`);
			return EXIT.badInput;
		}
		if (error instanceof InputError) {
			report(error.problems, json, STREAMS);
			return EXIT.badInput;
		}
		const problem = error instanceof ProblemError ? error.problem : asProblem(error, words[0] ?? 'utsushi');
		report([problem], json, STREAMS);
		return isInputProblem(problem) ? EXIT.badInput : EXIT.failed;
	}
}

/** Of a thread that `bin/trainer.mjs` started. */
export async function trainerThread(): Promise<void> {
	await (await import('./trainerThread')).runThread();
}
