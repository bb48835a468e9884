// Pointers: whether something points finely (mouse), coarsely (finger), and whether anything can hover. Tells the class
// of device; changes when a mouse is plugged in. resistFingerprinting: as a desktop with a mouse.

import { findMedia } from "../media";
import type { Source } from "../source";

export const pointers: Source = {
  name: "pointers",
  blur: "r",
  read: () => findMedia("any-pointer", ["fine", "coarse"]).concat(findMedia("any-hover", ["hover"])),
};
