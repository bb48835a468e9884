// Font preferences: how wide a text is in each generic family, in hundredths of a pixel: which fonts stand behind them.
// Fair information: system, its language, fonts that the person prefers; changes with these settings. Nobody blurs it.

import { openCanvas } from "../drawing";
import { giveWay } from "../pace";
import type { Source } from "../source";

export const fontPreferences: Source = {
  name: "font_preferences",
  async read() {
    const context = openCanvas();
    if (!context) return;
    const widths: string[] = [];
    for (const family of ["serif", "sans-serif", "monospace", "cursive", "fantasy", "system-ui", "math"]) {
      await giveWay();
      context.font = `48px ${family}`;
      widths.push(`${Math.round(context.measureText("mmMwWLliI0O&1").width * 100)}`);
    }
    return widths;
  },
};
