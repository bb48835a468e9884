// WebGL precision: ranges and bits of numbers in fragment shaders. Tells families of phones' graphics cards apart,
// little on desktops; as stable as the hardware. resistFingerprinting says the same for all.

import type { Source } from "../source";
import { fromWebgl } from "../webgl";

const FRAGMENT_SHADER = 0x8b30;
/** Low, medium and high float; low, medium and high integer. */
const FORMATS = [0x8df0, 0x8df1, 0x8df2, 0x8df3, 0x8df4, 0x8df5];

export const webglPrecision: Source = {
  name: "webgl_precision",
  blur: "r",
  read: () =>
    fromWebgl((context) =>
      FORMATS.map((format) => {
        const { rangeMin, rangeMax, precision } = context.getShaderPrecisionFormat(
          FRAGMENT_SHADER,
          format,
        ) as WebGLShaderPrecisionFormat;
        return [rangeMin, rangeMax, precision].join();
      }).join(";"),
    ),
};
