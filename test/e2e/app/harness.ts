/** The real app on a scripted trainer; see `scripted.ts`. */
import { mount } from 'svelte';
import App from '../../../src/app/App.svelte';
import '../../../src/app/base.css';
import { trainer } from '../../../src/app/train/trainer.svelte';
import { scriptedTrainer } from './scripted';

const until = new URLSearchParams(location.search).get('story') ?? 'done';
trainer.use(() => Promise.resolve(scriptedTrainer(until)));
const target = document.getElementById('app');
if (target) mount(App, { target });
