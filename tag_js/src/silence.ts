// When the tag says nothing: the person has objected, or the collector wants to hear nothing more from this visitor for
// a while (site switched off, visitor not in the sample).
//
// The objection is a cookie of its own, which the collector's public page sets as well and which the collector refuses
// beacons by. It is looked at even where nothing else on the device is: that is what the person asked for.

import { deleteCookie, readCookie, writeCookie } from "./cookie";
import { keep, recall } from "./device";
import type { Settings } from "./settings";

const OBJECTION = "_ts_out";

export interface Silence {
  /** Whether the tag is to be silent now. `mayRead`: storage is allowed, so what the collector said earlier counts. */
  holds(mayRead: boolean): boolean;
  /** Be silent for so many seconds, on this page and, where it may be kept, on the next. */
  fall(seconds: number, mayKeep: boolean): void;
  /** The person objects, or takes the objection back. */
  object(isObjecting: boolean): void;
}

export function createSilence(settings: Settings): Silence {
  const name = `${settings.cookie}s`;
  let untilMs = 0;
  let isRead = false;

  return {
    holds(mayRead) {
      if (mayRead && !isRead) {
        isRead = true;
        untilMs ||= Number(recall(name)) || 0;
      }
      return untilMs > Date.now() || !!readCookie(OBJECTION);
    },
    fall(seconds, mayKeep) {
      untilMs = Date.now() + seconds * 1000;
      if (mayKeep) keep(name, `${untilMs}`);
    },
    object(isObjecting) {
      if (isObjecting) writeCookie(OBJECTION, "1", settings.cookieDomain);
      else deleteCookie(OBJECTION, settings.cookieDomain);
      untilMs = 0;
      keep(name, "");
    },
  };
}
