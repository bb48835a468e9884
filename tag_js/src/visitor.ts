// The visitor in force: read from the cookie once storage is allowed, kept in memory, written back with each beacon.

import { deleteCookie, readCookie, writeCookie } from "./cookie";
import { decodeMemory, encodeMemory, type Memory, makeMemory } from "./memory";
import { touchSession } from "./session";
import type { Settings } from "./settings";

export interface Visitor {
  /** What is in force. Reads the device on the first call: never before storage is allowed. */
  memory(): Memory;
  /** Count an event into the session, first looking whether another tab has kept the session alive. */
  touch(nowMs: number, campaign: string): void;
  save(): void;
  /** Take over what another tab has written. */
  refresh(): void;
  /** A new visitor at once; the old id is kept until the collector has heard of it. */
  reset(): void;
  /** Forget everything and remove the cookie. */
  forget(): void;
}

export function createVisitor(settings: Settings): Visitor {
  let memory: Memory | undefined;
  const idleMs = settings.sessionMinutes * 60_000;

  const read = (): Memory | undefined => decodeMemory(readCookie(settings.cookie));
  const save = (): void => {
    if (memory) writeCookie(settings.cookie, encodeMemory(memory), settings.cookieDomain);
  };
  const refresh = (): void => {
    memory = (memory && read()) || memory;
  };
  const current = (): Memory => {
    if (!memory) {
      memory = read();
      if (!memory) {
        memory = makeMemory();
        save(); // at once: a second tab that opens meanwhile shall find it
      }
    }
    return memory;
  };

  return {
    memory: current,
    touch(nowMs, campaign) {
      if (nowMs - current().lastMs > idleMs) refresh();
      touchSession(current(), nowMs, idleMs, campaign);
    },
    save,
    refresh,
    reset() {
      const { visitor, resetFrom } = current();
      // Reset twice before the collector heard of it: what it knows is still the first id.
      memory = { ...makeMemory(), resetFrom: resetFrom || visitor };
      save();
    },
    forget() {
      memory = undefined;
      deleteCookie(settings.cookie, settings.cookieDomain);
    },
  };
}
