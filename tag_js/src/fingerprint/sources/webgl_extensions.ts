// WebGL extensions: what else the graphics card can do, as a digest of the names. Fair information; changes with the
// driver and with major versions of the browser. resistFingerprinting shows few.

import { digest } from "../digest";
import type { Source } from "../source";
import { fromWebgl } from "../webgl";

export const webglExtensions: Source = {
  name: "webgl_extensions",
  blur: "r",
  read: () =>
    fromWebgl((context) => {
      const names = context.getSupportedExtensions();
      return names && digest(names.sort().join());
    }),
};
