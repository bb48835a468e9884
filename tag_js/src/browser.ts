// What a beacon says of the browser. Read only when a beacon may be sent, and nothing costly at start: the first Intl
// call takes 20–30 ms (Temporal, where there is one, less than one), so the time zone is learned when the browser is idle,
// and stands on the beacons from then on.

import { quiet } from "./quiet";
import type { BrowserFacts } from "./wire";

let timeZone: string | undefined;
let automation: number | undefined;

/** Run when the browser has nothing better to do, within `withinMs`. Returns a number, not 0. */
export function whenIdle(run: () => void, withinMs: number): number {
  // Safari has no requestIdleCallback.
  return (window.requestIdleCallback || setTimeout)(quiet(run), { timeout: withinMs } as IdleRequestOptions & number);
}

/** Learn the time zone. Pages bring Temporals of their own, which may lack things: throws then. */
export function learnTimeZone(): void {
  const { Temporal } = window as { Temporal?: { Now: { timeZoneId(): string } } };
  timeZone = Temporal ? Temporal.Now.timeZoneId() : Intl.DateTimeFormat().resolvedOptions().timeZone;
}

export function readBrowser(): BrowserFacts {
  const { webdriver, languages, language } = navigator;
  // Bits that speak for a machine: 1 driven by a program, 2 without languages. What holds when the page begins holds for
  // the page. A browser that calls itself headless says so to the collector, with every request.
  automation ??= +!!webdriver | (languages?.length ? 0 : 2);
  return {
    l: language,
    z: timeZone,
    w: `${innerWidth}x${innerHeight}`,
    b: automation || undefined,
  };
}
