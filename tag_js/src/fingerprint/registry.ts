// Every signal, in the order of reading: cheap ones first, so that a page that is left early has told most.

import type { Source } from "./source";
import { audio } from "./sources/audio";
import { canvas } from "./sources/canvas";
import { colorDepth } from "./sources/color_depth";
import { deviceMemory } from "./sources/device_memory";
import { fonts } from "./sources/fonts";
import { hardwareConcurrency } from "./sources/hardware_concurrency";
import { languages } from "./sources/languages";
import { math } from "./sources/math";
import { platform } from "./sources/platform";
import { screenSize } from "./sources/screen";
import { timeZone } from "./sources/time_zone";
import { touchPoints } from "./sources/touch_points";
import { webglRenderer } from "./sources/webgl_renderer";
import { webglVendor } from "./sources/webgl_vendor";

export const SOURCES: Source[] = [
  languages,
  screenSize,
  colorDepth,
  hardwareConcurrency,
  deviceMemory,
  touchPoints,
  platform,
  math,
  timeZone,
  canvas,
  webglVendor,
  webglRenderer,
  audio,
  fonts,
];
