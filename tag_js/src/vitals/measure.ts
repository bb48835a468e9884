// Web vitals, measured by Google's library of that name: how fast the page came up, how soon it answered, how still it
// stood. The first byte is read here, which takes less than the library's way. One report for each view of the page,
// made when it is hidden first: what comes later nobody has waited for.

import { type Metric, onCLS, onFCP, onINP, onLCP } from "web-vitals";
import { quiet } from "../quiet";

/** Milliseconds, and the layout shift's score, which has no unit. What the browser cannot measure is absent. */
export type Vitals = Partial<Record<"lcp_ms" | "inp_ms" | "cls" | "fcp_ms" | "ttfb_ms", number>>;

/** Begin to measure. `report` is called when the page is hidden, and again where it has come back from the bfcache. */
export function measureVitals(report: (vitals: Vitals) => void): void {
  let vitals = readFirstByte();
  let isDue = true;

  const keep = quiet(({ name, value }: Metric) => {
    if (name === "CLS") vitals.cls = Math.round(value * 1e4) / 1e4;
    else vitals[`${name.toLowerCase()}_ms` as keyof Vitals] = Math.round(value);
  });
  const finish = quiet((event: Event) => {
    if (event.type !== "pagehide" && document.visibilityState !== "hidden") return;
    if (!isDue || !Object.keys(vitals).length) return;
    isDue = false;
    report(vitals);
  });

  // Before the library, which measures anew from here. No first byte then: nothing was fetched.
  addEventListener(
    "pageshow",
    quiet((event: PageTransitionEvent) => {
      if (!event.persisted) return;
      vitals = {};
      isDue = true;
    }),
    true,
  );
  // All changes: when a page is left, the library says its last word only after the tag has sent its last beacon.
  for (const on of [onFCP, onLCP, onCLS, onINP]) on(keep, { reportAllChanges: true });
  // Between the library, which listens at the window before the document, and the tag, which listens there afterwards.
  document.addEventListener("visibilitychange", finish, true);
  addEventListener("pagehide", finish, true);
}

/** The time until the first byte of the page; 0 where it was there before it was wanted, rendered in advance. */
function readFirstByte(): Vitals {
  const [entry] = performance.getEntriesByType("navigation");
  // Some browsers say 0 where they would rather not say.
  if (!entry?.responseStart) return {};
  return { ttfb_ms: Math.round(Math.max(0, entry.responseStart - (entry.activationStart || 0))) };
}
