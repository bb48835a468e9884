// Touch points: how many fingers the screen tells apart, 0 without touch. Stable; tells an iPad from a Mac.

import { orMissing, type Source } from "../source";

export const touchPoints: Source = { name: "touch_points", read: () => orMissing(navigator.maxTouchPoints) };
