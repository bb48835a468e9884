// Screen frame: what the system keeps of the screen for its bars: top, right, bottom, left in CSS pixels. Fair
// information; changes with the screen and where the person moves the bars. Blurred as the screen's size is.

import type { Source } from "../source";

type Place = { availLeft?: number; availTop?: number };

export const screenFrame: Source = {
  name: "screen_frame",
  blur: "rb",
  read() {
    const { width, height, availWidth, availHeight } = screen;
    const { availLeft = 0, availTop = 0 } = screen as Place;
    return availWidth && [availTop, width - availWidth - availLeft, height - availHeight - availTop, availLeft].join();
  },
};
