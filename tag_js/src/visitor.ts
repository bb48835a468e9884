// The visitor in force: read from the cookie once analytics is allowed, kept in memory, written back when the page is
// left. Where cookies are refused a storage takes the cookie's place; where that is refused too, the visitor lives and
// dies with the page.
//
// Reading and writing cookies waits for another process, so a page that starts does it as rarely as it can.

import { GONE_S, readCookie, writeCookie } from "./cookie";
import { keep, recall } from "./device";
import { decodeMemory, encodeMemory, type Memory, makeMemory } from "./memory";
import { touchSession } from "./session";
import type { Settings } from "./settings";

export interface Visitor {
  /** What is in force. Reads the device on the first call: never before analytics is allowed. */
  memory(): Memory;
  /**
   * Count an event into the session; a session that seems over may have been kept alive by another tab. A new session
   * is written at once, so that a second tab that opens meanwhile finds it; the time of the last event with the next
   * `save`. Returns what is in force then.
   */
  touch(nowMs: number, campaign: string): Memory;
  /** Write what has changed, unless another tab has written a newer visitor or session: then take that over. */
  save(): void;
  /** Look whether the browser has kept the cookie: when it is idle, because that takes a while. */
  verify(): void;
  /** Take over what another tab has written. Returns whether all is gone: consent was withdrawn there. */
  refresh(): boolean;
  /** A new visitor at once; the old id is kept until the collector has heard of it. */
  reset(): void;
  /** Forget everything and remove it from the device. Returns whether there was something to forget. */
  forget(): boolean;
}

export function createVisitor(settings: Settings): Visitor {
  const { cookie, cookieDomain } = settings;
  let memory: Memory | undefined;
  let written = ""; // as this tab last saw it
  let isRefused = false; // the browser does not keep the cookie, whatever it says of itself
  let isKept = false; // what we have written was seen there
  const idleMs = settings.sessionMinutes * 60_000;

  const read = (): Memory | undefined => {
    written = readCookie(cookie) || recall(cookie);
    return decodeMemory(written);
  };
  const write = (): void => {
    if (!memory) return;
    written = encodeMemory(memory);
    isRefused ? keep(cookie, written) : writeCookie(cookie, written, cookieDomain);
  };
  const refresh = (): boolean => {
    const there = memory && read();
    memory = there || memory;
    return isKept && !there;
  };
  const current = (): Memory => {
    memory ||= read() || makeMemory();
    return memory;
  };

  return {
    memory: current,
    touch(nowMs, campaign) {
      const { session, lastMs } = current();
      if (session && nowMs - lastMs > idleMs) refresh();
      touchSession(current(), nowMs, idleMs, campaign);
      if (current().session !== session) write();
      return current();
    },
    save() {
      if (!memory || encodeMemory(memory) === written) return;
      const before = decodeMemory(written);
      const there = read();
      if (there && (there.visitor !== before?.visitor || there.startedMs > memory.startedMs)) memory = there;
      // Gone: another tab has withdrawn consent or objected, and what it has removed stays removed.
      else if (there || !isKept) write();
    },
    verify() {
      if (!memory) return;
      isRefused = !readCookie(cookie);
      if (isRefused) write();
      isKept = !!read();
    },
    refresh,
    reset() {
      const { visitor, resetFrom } = current();
      // Reset twice before the collector heard of it: what it knows is still the first id.
      memory = { ...makeMemory(), resetFrom: resetFrom || visitor };
      // What brought the one before, and what the page said of them.
      for (const kept of "tc") keep(cookie + kept, "");
      write();
    },
    forget() {
      // Consent tools load the page anew when somebody withdraws: then it is the cookie that knows.
      const wasKnown = !!(memory || readCookie(cookie));
      memory = undefined;
      isKept = false;
      writeCookie(cookie, "", cookieDomain, GONE_S);
      // The visitor in the cookie's place, touches, claims, events that wait, which answer of a consent tool was sent.
      for (const kept of ["", ..."tcqg"]) keep(cookie + kept, "");
      return wasKnown;
    },
  };
}
