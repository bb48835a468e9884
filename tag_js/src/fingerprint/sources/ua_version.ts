// Versions by client hints: of the system, and of the browser and its engine in full. Much information for some weeks;
// changes with every update, upwards only. Chromium only, over HTTPS; Brave rounds.

import { readHints } from "../hints";
import type { Source } from "../source";

export const uaVersion: Source = {
  name: "ua_version",
  async read() {
    const hints = await readHints();
    return (
      hints && [
        `${hints.platform} ${hints.platformVersion}`,
        // Without the brand that does not exist: it is there to keep servers from counting on a fixed list.
        ...(hints.fullVersionList || [])
          .map(({ brand, version }) => `${brand} ${version}`)
          .filter((text) => !/^\W*not/i.test(text))
          .sort(),
      ]
    );
  },
};
