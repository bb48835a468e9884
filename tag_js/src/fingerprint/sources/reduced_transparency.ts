// Reduced transparency: whether the person wants solid surfaces. Little information; a setting. resistFingerprinting:
// no preference.

import { readMedia } from "../media";
import type { Source } from "../source";

export const reducedTransparency: Source = {
  name: "reduced_transparency",
  blur: "r",
  read: () => readMedia("prefers-reduced-transparency", "no-preference", "reduce"),
};
