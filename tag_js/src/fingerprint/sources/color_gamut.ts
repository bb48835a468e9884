// Colour gamut: the widest range of colours that the screen shows. Little information; follows the screen.
// resistFingerprinting: srgb.

import { readMedia } from "../media";
import type { Source } from "../source";

export const colorGamut: Source = {
  name: "color_gamut",
  blur: "r",
  read: () => readMedia("color-gamut", "rec2020", "p3", "srgb"),
};
