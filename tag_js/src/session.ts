// When a session begins: at the first event, after the idle time, or with another campaign.

import { makeId } from "./ids";
import type { Memory } from "./memory";

/**
 * Count an event at `nowMs` into the session, beginning a new one where due. `campaign` is the digest of the campaign
 * that the visitor has just arrived with, "" for none.
 */
export function touchSession(memory: Memory, nowMs: number, idleMs: number, campaign: string): void {
  if (!memory.session || nowMs - memory.lastMs > idleMs || (campaign && campaign !== memory.campaign)) {
    memory.session = makeId(nowMs);
    memory.number++;
    memory.startedMs = nowMs;
    memory.campaign = campaign;
    memory.signalsSent = 0;
    memory.lastMs = nowMs;
  }
  // An event that waited for consent may be older than the last one.
  memory.lastMs = Math.max(memory.lastMs, nowMs);
}
