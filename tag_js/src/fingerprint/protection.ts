// Which protection against fingerprinting is on, where the browser shows it: `rfp` (Firefox's resistFingerprinting, Tor
// Browser) or `brave`. Signals that it replaces are marked with its name and not read. Nothing here, or anywhere in
// the module, looks behind a protection; noise in pictures and sound is found where those are read.

import { readTimeZone } from "./time_zone";

export function readProtection(): "" | "rfp" | "brave" {
  if ("brave" in navigator) return "brave";
  // Three values that resistFingerprinting sets, and that hardly ever meet elsewhere: a window without a frame, a clock
  // that ticks sixty times a second, and one time zone for all.
  const ticks = performance.now() / 16.667;
  return "mozInnerScreenX" in window &&
    innerHeight === outerHeight &&
    Math.abs(ticks - Math.round(ticks)) < 0.001 &&
    /UTC|Reykjavik/.test(readTimeZone())
    ? "rfp"
    : "";
}
