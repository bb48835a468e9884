// What the tag remembers of a visitor between pages, and its form as the value of one cookie: the fields in order, with
// a dot between, numbers in base 36.

import { isId, makeId } from "./ids";

export interface Memory {
  visitor: string;
  /** Session id, "" before the first one. */
  session: string;
  /** The visitor's how-manieth session, from 1. */
  number: number;
  /** Milliseconds since 1970. */
  startedMs: number;
  lastMs: number;
  /** Digest of the campaign that the session began with, "" without. */
  campaign: string;
  /** 1 once device signals were sent in this session. */
  signalsSent: number;
  /** Visitor id before a reset that the collector has not acknowledged yet. */
  resetFrom: string;
  /** What must be added to this device's clock. */
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
    signalsSent: 0,
    resetFrom: "",
    offsetMs: 0,
  };
}

export function encodeMemory(memory: Memory): string {
  // Texts have no base: they come out as they are.
  return Object.values(memory)
    .map((value) => value.toString(36))
    .join(".");
}

/** Read a cookie's value. Undefined where it names no visitor. */
export function decodeMemory(text: string): Memory | undefined {
  const parts = text.split(".");
  const memory = makeMemory() as unknown as Record<string, string | number>;
  Object.keys(memory).forEach((name, i) => {
    const part = parts[i] || "";
    memory[name] = typeof memory[name] === "number" ? Number.parseInt(part, 36) || 0 : part;
  });
  const read = memory as unknown as Memory;
  if (!isId(read.resetFrom)) read.resetFrom = "";
  return isId(read.visitor) ? read : undefined;
}
