// Inverted colours: whether the system turns all colours round. Rare, so it tells much where it is on; a setting of
// Apple's systems, known to Safari and Firefox. resistFingerprinting: none.

import { readMedia } from "../media";
import type { Source } from "../source";

export const invertedColors: Source = {
  name: "inverted_colors",
  blur: "r",
  read: () => readMedia("inverted-colors", "none", "inverted"),
};
