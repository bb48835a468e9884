// Screen: its size in CSS pixels, the longer side first, so that turning the device changes nothing. Much information;
// changes with an external screen and, in Firefox, with the zoom. resistFingerprinting, Brave and Safari's private mode
// give the window's size or near it.

import type { Source } from "../source";

export const screenSize: Source = {
  name: "screen",
  blur: "rb",
  read() {
    const { width, height } = screen;
    return width && `${Math.max(width, height)}x${Math.min(width, height)}`;
  },
};
