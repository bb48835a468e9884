// Route changes of a single-page app: the address has changed without a page being loaded.

import { quiet } from "./quiet";

interface NavigationLike extends EventTarget {
  currentEntry?: unknown;
}

/** Call back after every change of the address, whatever changed of it. */
export function watchRoutes(onChange: () => void): void {
  const changed = quiet(onChange);
  const { navigation } = window as { navigation?: NavigationLike };
  // A page may have something of its own under this name.
  if (navigation?.currentEntry) return navigation.addEventListener("currententrychange", changed);
  for (const name of ["pushState", "replaceState"] as const) {
    const original = history[name];
    history[name] = function (...call) {
      original.apply(this, call);
      changed();
    };
  }
  addEventListener("popstate", changed);
}
