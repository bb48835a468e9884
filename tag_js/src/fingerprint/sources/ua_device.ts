// Device by client hints: system, processor, width of addresses, model (phones only), form factor. Much information on
// Android, fair elsewhere; stable as the device itself. Chromium only, over HTTPS; Brave leaves the model out.

import { readHints } from "../hints";
import type { Source } from "../source";

export const uaDevice: Source = {
  name: "ua_device",
  async read() {
    const hints = await readHints();
    return (
      hints &&
      [hints.platform, hints.architecture, hints.bitness, hints.model, hints.formFactors].map((hint) =>
        String(hint || ""),
      )
    );
  },
};
