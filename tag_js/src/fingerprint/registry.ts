// Every signal, in the order of reading: first those that answer later, so that they work beside the rest, then the cheap
// ones, at last those that take milliseconds.
//
// Left out on purpose: what asks the person or may (camera, location), what writes to the page's console (a live audio
// context), what starts a service of the system (voices), what changes by itself (battery, connection, quota, dark mode),
// what needs elements in the page or the network (blockers, frames), and what the request's headers say anyway.

import type { Source } from "./source";
import { architecture } from "./sources/architecture";
import { audio } from "./sources/audio";
import { canvasEmoji } from "./sources/canvas_emoji";
import { canvasGeometry } from "./sources/canvas_geometry";
import { canvasText } from "./sources/canvas_text";
import { codecs } from "./sources/codecs";
import { colorDepth } from "./sources/color_depth";
import { colorGamut } from "./sources/color_gamut";
import { contrast } from "./sources/contrast";
import { cookies } from "./sources/cookies";
import { deviceMemory } from "./sources/device_memory";
import { engine } from "./sources/engine";
import { flavors } from "./sources/flavors";
import { fontPreferences } from "./sources/font_preferences";
import { fonts } from "./sources/fonts";
import { forcedColors } from "./sources/forced_colors";
import { hardwareConcurrency } from "./sources/hardware_concurrency";
import { hdr } from "./sources/hdr";
import { heapLimit } from "./sources/heap_limit";
import { invertedColors } from "./sources/inverted_colors";
import { keyboard } from "./sources/keyboard";
import { languages } from "./sources/languages";
import { locale } from "./sources/locale";
import { math } from "./sources/math";
import { monochrome } from "./sources/monochrome";
import { pdfViewer } from "./sources/pdf_viewer";
import { pixelRatio } from "./sources/pixel_ratio";
import { platform } from "./sources/platform";
import { plugins } from "./sources/plugins";
import { pointers } from "./sources/pointers";
import { reducedMotion } from "./sources/reduced_motion";
import { reducedTransparency } from "./sources/reduced_transparency";
import { screenSize } from "./sources/screen";
import { screenFrame } from "./sources/screen_frame";
import { storage } from "./sources/storage";
import { systemFont } from "./sources/system_font";
import { timeZone } from "./sources/time_zone";
import { touchPoints } from "./sources/touch_points";
import { uaDevice } from "./sources/ua_device";
import { uaVersion } from "./sources/ua_version";
import { vendor } from "./sources/vendor";
import { webglExtensions } from "./sources/webgl_extensions";
import { webglParameters } from "./sources/webgl_parameters";
import { webglPrecision } from "./sources/webgl_precision";
import { webglRenderer } from "./sources/webgl_renderer";
import { webglVendor } from "./sources/webgl_vendor";

export const SOURCES: Source[] = [
  uaDevice,
  uaVersion,
  keyboard,
  audio,
  languages,
  locale,
  timeZone,
  platform,
  vendor,
  flavors,
  engine,
  math,
  architecture,
  hardwareConcurrency,
  deviceMemory,
  heapLimit,
  touchPoints,
  screenSize,
  screenFrame,
  colorDepth,
  pixelRatio,
  colorGamut,
  hdr,
  monochrome,
  contrast,
  forcedColors,
  invertedColors,
  reducedMotion,
  reducedTransparency,
  pointers,
  pdfViewer,
  plugins,
  storage,
  cookies,
  codecs,
  systemFont,
  webglVendor,
  webglRenderer,
  webglParameters,
  webglExtensions,
  webglPrecision,
  canvasGeometry,
  canvasEmoji,
  fontPreferences,
  canvasText,
  fonts,
];
