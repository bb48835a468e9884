// WebGL precision: ranges and bits of numbers in fragment shaders. Tells families of phones' graphics cards apart,
// little on desktops; as stable as the hardware. resistFingerprinting says the same for all.

import type { Source } from "../source";
import { fromWebgl } from "../webgl";

const FRAGMENT_SHADER = 0x8b30;
const LOW_FLOAT = 0x8df0;

export const webglPrecision: Source = {
  name: "webgl_precision",
  blur: "r",
  read: () =>
    fromWebgl((context) =>
      // Low, medium and high float; low, medium and high integer.
      [0, 1, 2, 3, 4, 5]
        .map((i) => {
          const format = context.getShaderPrecisionFormat(FRAGMENT_SHADER, LOW_FLOAT + i);
          return format && [format.rangeMin, format.rangeMax, format.precision];
        })
        .join(";"),
    ),
};
