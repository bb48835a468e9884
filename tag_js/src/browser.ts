// What a beacon says of the browser. Read only when a beacon may be sent, and nothing costly at start: the first Intl
// call takes 20–30 ms, so the time zone is learned when the browser is idle and stands on the beacons from then on.

import { quiet } from "./quiet";
import type { BrowserFacts } from "./wire";

let timeZone: string | undefined;
let isTimeZoneAsked = false;
let automation: number | undefined;

/** Run when the browser has nothing better to do, within `withinMs`. */
export function whenIdle(run: () => void, withinMs: number): void {
  // Safari has no requestIdleCallback.
  if (typeof requestIdleCallback === "function") requestIdleCallback(quiet(run), { timeout: withinMs });
  else setTimeout(quiet(run), 50);
}

/** Learn the time zone soon, in time for the first beacon. */
export function learnTimeZone(): void {
  if (isTimeZoneAsked) return;
  isTimeZoneAsked = true;
  whenIdle(() => {
    timeZone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  }, 200);
}

/** Bits that speak for a machine: 1 driven by a program, 2 without languages or calling itself headless. */
function readAutomation(): number {
  return +!!navigator.webdriver | (!navigator.languages?.length || /headless/i.test(navigator.userAgent) ? 2 : 0);
}

export function readBrowser(): BrowserFacts {
  automation ??= readAutomation();
  return {
    l: navigator.language || undefined,
    z: timeZone,
    w: `${innerWidth}x${innerHeight}`,
    b: automation || undefined,
  };
}
