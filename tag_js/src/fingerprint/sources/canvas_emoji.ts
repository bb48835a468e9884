// Canvas emoji: how this device draws pictographs, the newest of them last. Tells the system and the age of its emoji
// font; stable until a system update. Blurred by resistFingerprinting, by Firefox's and Safari's private windows and by
// Brave: then it is `noise`.

import { digestPicture } from "../drawing";
import type { Source } from "../source";

export const canvasEmoji: Source = {
  name: "canvas_emoji",
  read: () =>
    digestPicture(110, 30, (context) => {
      context.font = "20px sans-serif";
      context.fillText("\u{1f603}\u{1f1ea}\u{1f1fa}\u{1fae0}\u{1fae9}", 1, 23);
    }),
};
