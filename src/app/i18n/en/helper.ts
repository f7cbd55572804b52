/** The helper's page and what it adds to others. Loaded when a helper is known. */
import type { Reason } from '../../helper/choose';

const reasons: Record<Reason, (factor: string) => string> = {
	hereNotReady: () => 'On the helper: this browser has no usable GPU.',
	helperNotReady: () => 'Here: the helper is not connected.',
	hereNoModel: () => 'On the helper: the model lies in its folders.',
	helperNoModel: () => 'Here: the helper does not have this model file.',
	hereNoRoom: () => 'On the helper: the run does not fit here.',
	helperNoRoom: () => 'Here: the run does not fit on the helper.',
	hereSoftware: () => 'On the helper: here there is only a software adapter.',
	helperSoftware: () => 'Here: the helper has only a software adapter.',
	hereFaster: (factor) => `Here: measured ${factor} times as fast as the helper.`,
	helperFaster: (factor) => `On the helper: measured ${factor} times as fast as here.`,
	helperKeepsOn: () => 'On the helper: it goes on when this tab is closed.'
};

export const helper = {
	title: 'Helper',
	lead: 'A small program on this computer that trains with the same engine as this page. You do not need it. It is worth it for SDXL and for long nights: it may use the whole GPU and its tensor cores, it is never slowed down in the background, and it goes on when the tab is closed.',
	privacy: 'It listens to this computer only, and only to pages you have paired. Nothing leaves the computer.',
	connection: 'Connection',
	states: { off: 'Not connected', connecting: 'Connecting', open: 'Connected', lost: 'Connection lost', refused: 'Refused' },
	stateHints: {
		unpaired: 'No helper is paired with this page yet.',
		off: 'Start it with “utsushi serve”, then connect.',
		connecting: '',
		open: '',
		lost: 'Trying again by itself. Runs on the helper go on meanwhile.',
		refused: 'Pair this page again with a new code.'
	},
	connect: 'Connect',
	reconnect: 'Try again',
	version: (version: string) => `Version ${version}`,
	paired: (date: string) => `Paired since ${date}`,
	forget: 'Forget this helper',
	forgetHint:
		'This browser forgets its key. Runs on the helper go on. To take the permission back for good, run “utsushi pair --list” and “utsushi pair --revoke ID” in a terminal.',
	pairTitle: 'Pair this page',
	pairAgain: 'Pair again',
	pairLead: 'The helper shows a code in its terminal when it starts. It works once, for ten minutes; “utsushi pair” shows a new one.',
	code: 'Code from the terminal',
	port: 'Port',
	portHint: 'The number at the end of the address that the helper prints.',
	pair: 'Pair and connect',
	pairing: 'Pairing…',
	willAsk:
		'When you click, the browser may ask whether this site may connect to devices or apps on this computer or in the local network. That is this helper. If you refuse, everything else goes on as before; the permission can be changed in the settings of the site.',
	ownAddress: 'This page is served by the helper itself, so the browser will not ask anything.',
	otherOrigin: (origin: string) => `This page comes from ${origin}. Allow that address first, in a terminal:`,
	setup: 'Set it up',
	setupLead: 'Once, in a few minutes. Copy the lines into a terminal.',
	systems: { windows: 'Windows', macos: 'macOS', linux: 'Linux' },
	terminal: {
		windows: 'Open “Terminal” or “PowerShell” from the Start menu.',
		macos: 'Open “Terminal” (Applications › Utilities).',
		linux: 'Open a terminal.'
	},
	steps: {
		node: 'Node.js 20.19 or newer is needed. This shows the version; if there is none, install it from nodejs.org.',
		start: 'Start the helper. It prints its address and a pairing code, and opens this app in the browser.',
		models:
			'Optional: show it the folders your models are in, so that they can be chosen here by name. The first line looks for those of WebUI, Forge, ComfyUI and StabilityMatrix.',
		results: 'Optional: the folder in which finished LoRAs are saved too.'
	},
	gpu: {
		windows: 'Graphics drivers: those from the maker of your card (NVIDIA, AMD, Intel), not older than a year.',
		macos: 'Apple silicon and macOS 14 or newer. There is nothing else to install.',
		linux: 'A Vulkan driver is needed: that of NVIDIA (550 or newer), or Mesa for AMD and Intel.'
	},
	alone: 'Without Node.js: the single file “utsushi” from the release does the same. Put it anywhere and start it with “serve”.',
	copy: 'Copy',
	copied: 'Copied',
	copyOf: (line: string) => `Copy “${line}”`,
	models: 'Models on the helper',
	modelsNone: 'No models yet. In a terminal: utsushi models suggest, then utsushi models add FOLDER.',
	modelCounts: (checkpoints: number, loras: number) =>
		`${checkpoints === 1 ? '1 checkpoint' : `${checkpoints} checkpoints`}, ${loras === 1 ? '1 LoRA' : `${loras} LoRAs`}`,
	refresh: 'Look again',
	runs: 'Runs on the helper',
	runsNone: 'No runs yet. What is trained there is listed here, also after a restart.',
	runStates: { running: 'Running', done: 'Done', stopped: 'Stopped', failed: 'Failed' },
	show: 'Show',
	showRun: (name: string) => `Show ${name}`,
	fetch: 'Into the library',
	fetchRun: (name: string) => `Files of ${name} into the library`,
	fetching: 'Fetching…',
	fetched: (files: number) => (files === 1 ? '1 file is in the library.' : `${files} files are in the library.`),
	remove: 'Remove',
	removeRun: (name: string) => `Remove ${name} from the helper`,
	files: (files: number) => (files === 1 ? '1 file' : `${files} files`),
	where: 'Where it runs',
	wishes: { here: 'Here', helper: 'On the helper', automatic: 'Automatic' },
	reasons,
	wishHere: 'In this tab. It has to stay open.',
	wishHelper: 'On the helper. The tab may be closed.',
	notConnected: 'The helper is not connected.',
	setUp: 'Set up or connect',
	modelTitle: 'On the helper',
	modelHint: 'By name, from its folders. Nothing is uploaded.',
	modelChoose: 'Choose a model…',
	search: 'Search',
	searchNone: 'No checkpoint has this name.',
	runHere: 'Runs in this tab.',
	runThere: 'Runs on the helper. You can close this tab; come back any time.',
	runLost: 'The connection to the helper is lost. The run goes on there; this page catches up as soon as it answers.',
	moveThere: 'Move to the helper',
	moveHere: 'Move to this tab',
	moveHint: 'Pauses, takes the snapshot along and goes on at the same step.',
	moving: 'Moving…',
	permission: 'Allow and connect'
};
