// What the tag remembers of a visitor between pages, and its form as the value of one cookie.
//
//   visitor.session.number.started.last.campaign.signals.resetFrom.offset
//
// Ids are UUIDs, times milliseconds since 1970 in base 36, `signals` is 1 once device signals were sent in this
// session, `resetFrom` is the visitor id before a reset that the collector has not acknowledged yet, `offset` is what
// must be added to this device's clock.

import { isId, makeId } from "./ids";

export interface Memory {
  visitor: string;
  session: string;
  /** The visitor's how-manieth session, from 1. */
  number: number;
  startedMs: number;
  lastMs: number;
  /** Digest of the campaign that the session began with, "" without. */
  campaign: string;
  signalsSent: boolean;
  resetFrom: string;
  offsetMs: number;
}

/** A visitor never seen before. The session is not begun: `touchSession` does that. */
export function makeMemory(): Memory {
  return {
    visitor: makeId(),
    session: "",
    number: 0,
    startedMs: 0,
    lastMs: 0,
    campaign: "",
    signalsSent: false,
    resetFrom: "",
    offsetMs: 0,
  };
}

export function encodeMemory(memory: Memory): string {
  return [
    memory.visitor,
    memory.session,
    memory.number,
    memory.startedMs.toString(36),
    memory.lastMs.toString(36),
    memory.campaign,
    +memory.signalsSent,
    memory.resetFrom,
    memory.offsetMs.toString(36),
  ].join(".");
}

/** Read a cookie's value. Undefined where it names no visitor; a broken session is no session. */
export function decodeMemory(text: string): Memory | undefined {
  const [visitor, session, number, started, last, campaign, signals, resetFrom, offset] = text.split(".");
  if (!isId(visitor)) return undefined;
  const memory = makeMemory();
  memory.visitor = visitor;
  memory.campaign = campaign || "";
  if (isId(resetFrom)) memory.resetFrom = resetFrom;
  memory.offsetMs = readNumber(offset);
  if (isId(session)) {
    memory.session = session;
    memory.number = Number(number) || 1;
    memory.startedMs = readNumber(started);
    memory.lastMs = readNumber(last);
    memory.signalsSent = signals === "1";
  }
  return memory;
}

function readNumber(text = ""): number {
  return Number.parseInt(text, 36) || 0;
}
