// Screen: its size in CSS pixels, the longer side first, so that turning the device changes nothing. Changes with an
// external screen and, in Firefox, with the zoom. resistFingerprinting gives the window's size.

import { orMissing, type Source } from "../source";

export const screenSize: Source = {
  name: "screen",
  read() {
    const { width, height } = screen;
    return orMissing(width && `${Math.max(width, height)}x${Math.min(width, height)}`);
  },
};
