// System font: size and name of the font in the system's own titles and menus. Fair information on Linux and Windows;
// changes with the system's theme and text size. resistFingerprinting hides it.

import { openCanvas } from "../drawing";
import type { Source } from "../source";

export const systemFont: Source = {
  name: "system_font",
  blur: "r",
  read() {
    const context = openCanvas();
    return (
      context &&
      ["caption", "small-caption", "menu"].map((font) => {
        context.font = font;
        return context.font;
      })
    );
  },
};
