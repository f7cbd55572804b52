/** The page in the browser of the computer's owner, by the custom of each system. */
import { spawn } from 'node:child_process';

/** No shell in between, so nothing in an address means anything to one; on Windows not `start` (a word of its shell) and not Explorer (which takes `=` and `,` for ends of words). */
export function browserCommand(url: string, platform: string = process.platform): { readonly command: string; readonly words: readonly string[] } {
	if (platform === 'win32') return { command: 'rundll32.exe', words: ['url.dll,FileProtocolHandler', url] };
	return { command: platform === 'darwin' ? 'open' : 'xdg-open', words: [url] };
}

/** Best effort: a machine without a browser just keeps the printed address. */
export function openInBrowser(url: string): void {
	const { command, words } = browserCommand(url);
	const child = spawn(command, words, { stdio: 'ignore', detached: true });
	child.on('error', () => undefined);
	child.unref();
}
