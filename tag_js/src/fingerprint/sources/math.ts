// Math: last digits of functions that engines and processors round differently. Tells the engine and its generation;
// stable, nobody blurs it, and it is hard to lie about.

import { digest } from "../digest";
import type { Source } from "../source";

export const math: Source = {
  name: "math",
  read: () =>
    digest(
      [
        Math.acos(0.12312423423423424),
        Math.acosh(1e308),
        Math.asinh(1),
        Math.atanh(0.5),
        Math.cbrt(100),
        Math.cos(10.000000000123),
        Math.cosh(1),
        Math.exp(1),
        Math.expm1(1),
        Math.log1p(10),
        Math.sin(-1e300),
        Math.sinh(1),
        Math.tan(-1e300),
        Math.tanh(1),
        Math.PI ** -100,
      ].join(),
    ),
};
