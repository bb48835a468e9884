// Architecture: the sign that the processor gives to a result that is no number: 255 for x86, 127 for ARM. Little
// information, but of the hardware itself: it never changes and nobody blurs it.

import type { Source } from "../source";

export const architecture: Source = {
  name: "architecture",
  read() {
    // Computed in an array, where no compiler knows the result beforehand.
    const floats = new Float32Array([Infinity]);
    floats[0] = (floats[0] as number) - (floats[0] as number);
    return new Uint8Array(floats.buffer)[3];
  },
};
