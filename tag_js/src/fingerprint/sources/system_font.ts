// System font: size and name of the font in the system's own titles and menus. Fair information on Linux and Windows;
// changes with the system's theme and text size. resistFingerprinting hides it.

import { openCanvas } from "../drawing";
import type { Source } from "../source";

export const systemFont: Source = {
  name: "system_font",
  blur: "r",
  read() {
    const context = openCanvas();
    if (!context) return;
    const before = context.font;
    const names = ["caption", "small-caption", "menu"].map((font) => {
      context.font = font;
      return context.font;
    });
    // WebKit does not know these on a canvas, and keeps the font that was there.
    return names[0] === before ? undefined : names;
  },
};
