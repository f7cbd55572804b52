/** The lines to copy for each system: only what that system's terminal understands. */
export const SYSTEMS = ['windows', 'macos', 'linux'] as const;
export type System = (typeof SYSTEMS)[number];

export interface SetupStep {
	step: 'node' | 'start' | 'models' | 'results';
	lines: string[];
}

/** A folder as people have it there; they will change it. */
const EXAMPLE: Readonly<Record<System, { models: string; results: string }>> = {
	windows: { models: '"C:\\stable-diffusion-webui\\models\\Stable-diffusion"', results: '"C:\\stable-diffusion-webui\\models\\Lora"' },
	macos: { models: '~/stable-diffusion-webui/models/Stable-diffusion', results: '~/stable-diffusion-webui/models/Lora' },
	linux: { models: '~/stable-diffusion-webui/models/Stable-diffusion', results: '~/stable-diffusion-webui/models/Lora' }
};

export function setupSteps(system: System): SetupStep[] {
	const { models, results } = EXAMPLE[system];
	return [
		{ step: 'node', lines: ['node --version'] },
		{ step: 'start', lines: ['npx utsushi serve --open'] },
		{ step: 'models', lines: ['npx utsushi models suggest', `npx utsushi models add ${models}`] },
		{ step: 'results', lines: [`npx utsushi models add ${results} --results`] }
	];
}

/** A best guess, to show the right tab first. */
export function systemOf(agent: string): System {
	if (/windows/i.test(agent)) return 'windows';
	return /mac os|macintosh|iphone|ipad/i.test(agent) ? 'macos' : 'linux';
}
