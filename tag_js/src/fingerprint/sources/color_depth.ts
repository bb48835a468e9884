// Colour depth: bits per pixel, 24 or 30 nearly always. Little information, stable.

import { orMissing, type Source } from "../source";

export const colorDepth: Source = { name: "color_depth", read: () => orMissing(screen.colorDepth) };
