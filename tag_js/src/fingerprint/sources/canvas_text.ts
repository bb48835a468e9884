// Canvas text: how this device draws letters of several scripts in the fonts that it falls back to. Much information:
// fonts, their smoothing, the system; stable until a font, system or major version changes. Blurred by
// resistFingerprinting, by Firefox's and Safari's private windows and by Brave: then it is `noise`.

import { digestPicture } from "../drawing";
import type { Source } from "../source";

export const canvasText: Source = {
  name: "canvas_text",
  read: () =>
    digestPicture(230, 50, (context) => {
      context.fillStyle = "#fd9";
      context.fillRect(90, 4, 75, 40);
      context.fillStyle = "#069";
      context.font = "15px serif";
      context.fillText("Sphinx of quartz, judge my vow", 2, 17);
      context.fillStyle = "rgba(90,160,10,0.7)";
      context.font = "24px sans-serif";
      context.fillText("Åß ffi Жї 永 ﷽", 4.3, 43);
    }),
};
