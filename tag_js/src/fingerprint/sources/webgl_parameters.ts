// WebGL parameters: limits of the graphics card and its driver, such as the largest texture. Fair information, stable
// until a driver update. resistFingerprinting gives the same limits for all.

import type { Source } from "../source";
import { fromWebgl } from "../webgl";

// Largest texture, cube map, renderbuffer and viewport; ranges of points and lines; units and vectors of shaders; bits.
const PARAMETERS = [
  0x0d33, 0x851c, 0x84e8, 0x0d3a, 0x846d, 0x846e, 0x8869, 0x8872, 0x8b4c, 0x8b4d, 0x8dfb, 0x8dfc, 0x8dfd, 0x0d50,
];

export const webglParameters: Source = {
  name: "webgl_parameters",
  blur: "r",
  read: () => fromWebgl((context) => PARAMETERS.map((name) => String(context.getParameter(name))).join(";")),
};
