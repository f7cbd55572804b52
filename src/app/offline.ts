/**
 * Registers the service worker (`sw.ts`) in built apps and tells the page two things: that it now works offline, and that a new version
 * lies ready. The new version takes over only when the user agrees (`apply`), because that reloads the page and would end a training.
 */

export interface OfflineEvents {
	/** Every file is stored; also called on later visits. */
	ready(): void;
	/** A new version is complete; `apply` switches to it and reloads. */
	update(apply: () => void): void;
}

function whenWaiting(registration: ServiceWorkerRegistration, found: (worker: ServiceWorker) => void): void {
	// Without a controller it is the first version, which starts by itself.
	const check = (): void => {
		if (registration.waiting !== null && navigator.serviceWorker.controller !== null) found(registration.waiting);
	};
	check();
	registration.addEventListener('updatefound', () => {
		registration.installing?.addEventListener('statechange', check);
	});
}

/** Does nothing in development or where service workers are not to be had; a failed registration leaves an app that needs the network. */
export async function startOffline(events: OfflineEvents): Promise<void> {
	if (!import.meta.env.PROD || !('serviceWorker' in navigator)) return;
	const container = navigator.serviceWorker;
	try {
		const registration = await container.register(new URL('sw.js', document.baseURI), { updateViaCache: 'none' });
		whenWaiting(registration, (worker) => {
			events.update(() => {
				container.addEventListener('controllerchange', () => location.reload(), { once: true });
				worker.postMessage({ type: 'activate' });
			});
		});
	} catch (error) {
		console.warn('Utsushi will not work offline:', error);
		return;
	}
	await container.ready;
	events.ready();
}
