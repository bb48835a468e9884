// Pixel ratio: device pixels to one CSS pixel. Fair information; follows the screen and the zoom. resistFingerprinting
// says 2, formerly 1.

import type { Source } from "../source";

export const pixelRatio: Source = { name: "pixel_ratio", blur: "r", read: () => devicePixelRatio };
