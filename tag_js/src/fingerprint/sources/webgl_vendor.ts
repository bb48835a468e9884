// WebGL vendor: who made the graphics driver. Little information, very stable. Safari says "Apple Inc." for all,
// resistFingerprinting "Mozilla".

import type { Source } from "../source";
import { readName } from "../webgl";

export const webglVendor: Source = { name: "webgl_vendor", blur: "r", read: () => readName(0x9245, 0x1f00) };
