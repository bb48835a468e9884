// Storage: which kinds of it a page gets. Nothing is written or looked up. Little information; changes with the
// person's settings, and browsers that withhold some in private windows differ there.

import type { Source } from "../source";

export const storage: Source = {
  name: "storage",
  read: () =>
    ["localStorage", "sessionStorage", "indexedDB", "caches", "openDatabase"].filter((name) => {
      try {
        return (window as unknown as Record<string, unknown>)[name];
      } catch {
        return false; // forbidden: this page does not get it
      }
    }),
};
