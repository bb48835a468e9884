// The visitor in force: read from the cookie once storage is allowed, kept in memory, written back with each beacon.
// Where cookies are refused a storage takes the cookie's place; where that is refused too, the visitor lives and dies
// with the page.

import { deleteCookie, readCookie, writeCookie } from "./cookie";
import { keep, recall } from "./device";
import { decodeMemory, encodeMemory, type Memory, makeMemory } from "./memory";
import { touchSession } from "./session";
import type { Settings } from "./settings";

export interface Visitor {
  /** What is in force. Reads the device on the first call: never before storage is allowed. */
  memory(): Memory;
  /**
   * Count an event into the session; a session that seems over may have been kept alive by another tab. A new session
   * is written at once, the time of the last event with the next `save`.
   */
  touch(nowMs: number, campaign: string): void;
  /** Write what has changed, unless another tab has written a newer visitor or session: then take that over. */
  save(): void;
  /** Take over what another tab has written. */
  refresh(): void;
  /** A new visitor at once; the old id is kept until the collector has heard of it. */
  reset(): void;
  /** Forget everything and remove the cookie, without looking. Returns whether there was something to forget. */
  forget(): boolean;
}

export function createVisitor(settings: Settings): Visitor {
  let memory: Memory | undefined;
  const idleMs = settings.sessionMinutes * 60_000;

  let written = ""; // the cookie as this tab last saw it

  const read = (): Memory | undefined => {
    written = readCookie(settings.cookie) || recall(settings.cookie);
    return decodeMemory(written);
  };
  const write = (): void => {
    if (!memory) return;
    written = encodeMemory(memory);
    writeCookie(settings.cookie, written, settings.cookieDomain);
    if (readCookie(settings.cookie) !== written) keep(settings.cookie, written);
  };
  const refresh = (): void => {
    memory = (memory && read()) || memory;
  };
  const current = (): Memory => {
    if (!memory) {
      memory = read();
      if (!memory) {
        memory = makeMemory();
        write(); // at once: a second tab that opens meanwhile shall find it
      }
    }
    return memory;
  };

  return {
    memory: current,
    touch(nowMs, campaign) {
      if (nowMs - current().lastMs > idleMs) refresh();
      const { session } = current();
      touchSession(current(), nowMs, idleMs, campaign);
      if (current().session !== session) write();
    },
    save() {
      if (!memory || encodeMemory(memory) === written) return;
      const before = decodeMemory(written);
      const there = read();
      const isOlder = there && (there.visitor !== before?.visitor || there.startedMs > memory.startedMs);
      if (isOlder) memory = there;
      else write();
    },
    refresh,
    reset() {
      const { visitor, resetFrom } = current();
      // Reset twice before the collector heard of it: what it knows is still the first id.
      memory = { ...makeMemory(), resetFrom: resetFrom || visitor };
      // What brought the one before, and what the page said of them.
      for (const kept of "tc") keep(settings.cookie + kept, "");
      write();
    },
    forget() {
      const wasKnown = !!memory;
      memory = undefined;
      deleteCookie(settings.cookie, settings.cookieDomain);
      // The visitor in the cookie's place, touches, claims, events that wait, the collector's wish for silence.
      for (const kept of ["", "t", "c", "q", "s"]) keep(settings.cookie + kept, "");
      return wasKnown;
    },
  };
}
