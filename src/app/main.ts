/** The page's entry: mounts the app on its one element. The trainer (a worker with the whole engine) is loaded when first needed. */
import { mount } from 'svelte';
import App from './App.svelte';
import './base.css';
import { trainer } from './train/trainer.svelte';

const target = document.getElementById('app');
if (!target) throw new Error('index.html has no #app');

trainer.use(async () => (await import('../service/client')).createWorkerClient());
trainer.at.helper.use(async () => (await import('./helper/connection.svelte')).helper.client());
mount(App, { target });
