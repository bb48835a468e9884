// When the tag says nothing: the person has objected, or the collector wants to hear nothing more from this visitor for
// a while (site switched off, visitor not in the sample).
//
// Both are one cookie: 1 is an objection, which the collector's public page sets as well and which the collector refuses
// beacons by; 0 is the collector's wish, and ends when the cookie does. It is looked at even where nothing else on the
// device is: that is what the person asked for. Once a page, and again when somebody comes back to it.

import { GONE_S, MAX_AGE_S, readCookie, writeCookie } from "./cookie";
import type { Settings } from "./settings";

const NAME = "_ts_out";

export interface Silence {
  holds(): boolean;
  /** Be silent for so many seconds: on this page, and on the next where that may be kept. */
  fall(seconds: number, mayKeep: boolean): void;
  /** The person objects, or takes the objection back. */
  object(isObjecting: boolean): void;
  /** Look again. */
  refresh(): void;
}

export function createSilence(settings: Settings): Silence {
  let isSilent: boolean | undefined;

  return {
    holds() {
      isSilent ??= !!readCookie(NAME);
      return isSilent;
    },
    fall(seconds, mayKeep) {
      isSilent = true;
      // An objection made meanwhile, perhaps in another tab, is not shortened.
      if (mayKeep && !readCookie(NAME)) writeCookie(NAME, "0", settings.cookieDomain, seconds);
    },
    object(isObjecting) {
      isSilent = isObjecting;
      writeCookie(NAME, "1", settings.cookieDomain, isObjecting ? MAX_AGE_S : GONE_S);
    },
    refresh() {
      isSilent = undefined;
    },
  };
}
