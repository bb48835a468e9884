// High dynamic range: whether the screen shows it now. Little information; follows the screen and a setting.
// resistFingerprinting: standard.

import { readMedia } from "../media";
import type { Source } from "../source";

export const hdr: Source = { name: "hdr", blur: "r", read: () => readMedia("dynamic-range", "high", "standard") };
