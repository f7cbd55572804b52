/**
 * The offline copy: registers the service worker of the built app, says when everything is stored and when a new version waits. A new
 * version takes over only when asked to, never under a running training.
 */
class Offline {
	/** Everything needed is stored: the app opens without a network. */
	ready = $state(false);
	online = $state(true);
	/** A new version is stored and waits. */
	update = $state.raw<ServiceWorker | null>(null);

	start(): void {
		this.online = navigator.onLine;
		window.addEventListener('online', () => (this.online = true));
		window.addEventListener('offline', () => (this.online = false));
		if (!import.meta.env.PROD || !('serviceWorker' in navigator)) return;
		void navigator.serviceWorker
			.register('./sw.js')
			.then((registration) => this.#follow(registration))
			.catch(() => undefined); // private window or plain http: the app works, only not offline
		void navigator.serviceWorker.ready.then(() => (this.ready = true));
	}

	#follow(registration: ServiceWorkerRegistration): void {
		const waits = (worker: ServiceWorker | null) => {
			if (worker?.state === 'installed' && navigator.serviceWorker.controller) this.update = worker;
		};
		waits(registration.waiting);
		registration.addEventListener('updatefound', () => {
			const worker = registration.installing;
			worker?.addEventListener('statechange', () => waits(worker));
		});
	}

	/** Switches to the waiting version and reloads into it. */
	apply(): void {
		if (!this.update) return;
		navigator.serviceWorker.addEventListener('controllerchange', () => location.reload(), { once: true });
		this.update.postMessage({ type: 'activate' });
	}
}

export const offline = new Offline();
