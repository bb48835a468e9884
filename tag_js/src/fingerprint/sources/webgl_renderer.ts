// WebGL renderer: model of the graphics card. Much information on desktops, very stable. Safari says "Apple GPU" for
// all, Firefox rounds to a class of cards, resistFingerprinting says "Mozilla".

import type { Source } from "../source";
import { readName } from "../webgl";

export const webglRenderer: Source = { name: "webgl_renderer", blur: "r", read: () => readName(0x9246, 0x1f01) };
