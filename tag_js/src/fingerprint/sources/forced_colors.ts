// Forced colours: whether the system imposes its colours on pages (Windows' contrast themes). Rare, so it tells much
// where it is on; a setting.

import { readMedia } from "../media";
import type { Source } from "../source";

export const forcedColors: Source = { name: "forced_colors", read: () => readMedia("forced-colors", "none", "active") };
