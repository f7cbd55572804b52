/** Header, notices and words used everywhere. */
export const shell = {
	name: 'Utsushi',
	skip: 'Skip to content',
	rooms: { train: 'Train', library: 'Library', settings: 'Settings' },
	navigation: 'Rooms',
	switchLanguage: '日本語',
	switchLanguageLabel: '日本語に切り替える',
	dismiss: 'Dismiss',
	retry: 'Try again',
	loading: 'Loading',
	offlineReady: 'Works offline',
	offlineReadyHint: 'Everything this app needs is stored in this browser, the mini model included.',
	offlineNow: 'Offline',
	offlineNowHint: 'There is no network right now. That changes nothing: training needs none.',
	updateReady: 'A new version of Utsushi is ready.',
	updateWaits: 'A new version is ready. It will wait until the run has ended.',
	updateNow: 'Reload with it',
	runChip: (state: string, percent: string) => `${state} · ${percent}`,
	runChipLabel: 'Go to the run',
	error: 'Error',
	warning: 'Note',
	details: 'Details'
};
