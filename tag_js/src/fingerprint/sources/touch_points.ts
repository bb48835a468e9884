// Touch points: how many fingers the screen tells apart, 0 without touch. Stable but for a second screen that can be
// touched; tells an iPad from a Mac. resistFingerprinting says the same for all.

import type { Source } from "../source";

export const touchPoints: Source = {
  name: "touch_points",
  blur: "r",
  read: () => navigator.maxTouchPoints,
};
