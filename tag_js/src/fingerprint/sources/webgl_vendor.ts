// WebGL vendor: who made the graphics driver. Little information, very stable. Firefox resistFingerprinting: "Mozilla".

import type { Source } from "../source";
import { readVendor } from "./webgl";

export const webglVendor: Source = { name: "webgl_vendor", read: readVendor };
