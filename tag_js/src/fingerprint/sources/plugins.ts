// Plugins: their names. Once the most telling signal of all, today the same five wherever there is a PDF viewer; old
// browsers still tell. Brave makes names up.

import type { Source } from "../source";

export const plugins: Source = {
  name: "plugins",
  blur: "b",
  read: () => navigator.plugins && Array.from(navigator.plugins, ({ name }) => name),
};
