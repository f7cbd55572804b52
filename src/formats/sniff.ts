/**
 * Recognises what a file is when it is not safetensors, so that the message can say what to do about it.
 * The rule: a file is taken for safetensors when its ninth byte opens a JSON object, because its first eight may be anything.
 */
import { FormatError } from './error';

const SAFETENSORS = 'Choose a .safetensors file.';

/** The error for a file that cannot be safetensors, judged by its first bytes; undefined when it may be. */
export function notSafetensors(start: Uint8Array, size: number): FormatError | undefined {
	if (size === 0) return new FormatError('empty', 'file', 'The file is empty (zero bytes)', 'Download it again; the download probably failed.');
	if (start[8] === 0x7b) return undefined;
	const text = String.fromCharCode(...start.subarray(0, 512)).trimStart();
	if (text.startsWith('version https://git-lfs')) {
		const problem = 'This is a Git LFS pointer, a small text that stands for the model file';
		return new FormatError('lfs-pointer', 'file', problem, 'Download the file itself (with "git lfs pull" or the download button of its page).');
	}
	if (text.startsWith('PK\u0003\u0004') || /^\u0080[\u0002-\u0005][\s\S]/.test(text)) {
		const problem = 'This is a pickled .ckpt or .pt file, which can run code when opened';
		return new FormatError('pickle', 'file', problem, 'Use the .safetensors version of the model, or convert it with a tool you trust.');
	}
	if (text.startsWith('GGUF')) return new FormatError('gguf', 'file', 'This is a GGUF file', `Quantised GGUF models cannot be trained. ${SAFETENSORS}`);
	if (/^<(!doctype|html|\?xml|head)/i.test(text)) {
		const problem = 'This is a web page, not a model';
		return new FormatError('html', 'file', problem, 'Download again from the page itself; you may have to sign in or accept a licence first.');
	}
	if (size < 9) return new FormatError('truncated', 'header', `The file has only ${size} bytes`, 'Download it again.', { bytes: size });
	return new FormatError('not-safetensors', 'header', 'This is not a safetensors file', SAFETENSORS);
}
