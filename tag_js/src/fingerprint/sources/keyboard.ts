// Keyboard: what is printed on the keys, as a digest of the whole layout. Fair information: language and system in one;
// changes when the person switches layouts. Chromium only, over HTTPS, without asking the person. Brave withholds it.

import { digest } from "../digest";
import type { Source } from "../source";

type Keyed = { keyboard?: { getLayoutMap?(): Promise<Iterable<[string, string]>> } };

export const keyboard: Source = {
  name: "keyboard",
  blur: "b",
  async read() {
    const layout = [...((await (navigator as Keyed).keyboard?.getLayoutMap?.()) || [])];
    return layout[0] && digest(layout.sort().join());
  },
};
