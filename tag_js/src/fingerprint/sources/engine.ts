// Engine: how the script engine prints a function of its own and words a mistake. Tells the engine and its generation
// whatever the user agent claims. Little information; changes with a major version at most, nobody blurs it.

import type { Source } from "../source";

export const engine: Source = {
  name: "engine",
  read() {
    let wording: string;
    try {
      wording = (null as unknown as { x: string }).x;
    } catch (error) {
      wording = (error as Error).message;
    }
    return `${String(parseInt).length} ${wording}`;
  },
};
