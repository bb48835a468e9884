// Reduced motion: whether the person wants fewer animations. Little information; a setting. resistFingerprinting: no
// preference.

import { readMedia } from "../media";
import type { Source } from "../source";

export const reducedMotion: Source = {
  name: "reduced_motion",
  blur: "r",
  read: () => readMedia("prefers-reduced-motion", "no-preference", "reduce"),
};
