// Hardware concurrency: logical processors as the browser tells. Stable; Safari and WebKitGTK cap or round it, Brave
// lies within a range, resistFingerprinting says 2.

import { orMissing, type Source } from "../source";

export const hardwareConcurrency: Source = {
  name: "hardware_concurrency",
  read: () => orMissing(navigator.hardwareConcurrency),
};
