// Hardware concurrency: logical processors as the browser tells. Fair information, stable; Safari and WebKitGTK cap or
// round it, Firefox's protection says 4 or 8, Brave lies within a range, resistFingerprinting says the same for all.

import type { Source } from "../source";

export const hardwareConcurrency: Source = {
  name: "hardware_concurrency",
  blur: "rb",
  read: () => navigator.hardwareConcurrency,
};
