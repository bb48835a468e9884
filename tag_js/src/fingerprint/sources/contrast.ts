// Contrast: whether the person wants more or less of it. Little information, much where it is asked for; a setting.
// resistFingerprinting: no preference.

import { readMedia } from "../media";
import type { Source } from "../source";

export const contrast: Source = {
  name: "contrast",
  blur: "r",
  read: () => readMedia("prefers-contrast", "no-preference", "more", "less", "custom"),
};
