/** Module lists of the three families, for tests. */
import { SD15_UNET, SDXL_UNET } from '../../../src/diffusion/config';
import type { UnetConfig } from '../../../src/diffusion/config';
import { unetModules } from '../../../src/diffusion/unet-layout';

/** The bundled model: SD1.5 at a fifth of its width. */
export const MINI_UNET: UnetConfig = { ...SD15_UNET, modelChannels: 64, channelMult: [1, 2, 2, 1], contextDim: 64 };

export const miniModules = unetModules(MINI_UNET);
export const sd15Modules = unetModules(SD15_UNET);
export const sdxlModules = unetModules(SDXL_UNET);
