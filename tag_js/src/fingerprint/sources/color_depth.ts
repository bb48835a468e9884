// Colour depth: bits per pixel, 24 or 30 nearly always. Little information; follows the screen. resistFingerprinting: 24.

import type { Source } from "../source";

export const colorDepth: Source = { name: "color_depth", blur: "r", read: () => screen.colorDepth };
