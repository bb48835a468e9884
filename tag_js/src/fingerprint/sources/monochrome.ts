// Monochrome: bits per pixel of a screen without colours, 0 with them. Nearly always 0, which makes the others tell
// much; follows the screen and a setting. resistFingerprinting: 0.

import { readMedia } from "../media";
import type { Source } from "../source";

export const monochrome: Source = { name: "monochrome", blur: "r", read: () => readMedia("monochrome", 0, 1, 2, 4, 8) };
