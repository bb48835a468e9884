// Reads all signals, one after the other, with a pause between them, so that none makes a long task of the rest.

import { nextIdle } from "./idle";
import { SOURCES } from "./registry";
import type { Failure, Source, Value } from "./source";

/** Version of the set: a change of what a name means raises it. */
const VERSION = 1;
const TIMEOUT_MS = 2000;

export interface Reading {
  v: number;
  s: Record<string, Value | Failure>;
}

async function readSource(source: Source): Promise<Value | Failure> {
  try {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<Failure>((resolve) => {
      timer = setTimeout(() => resolve({ error: "timeout" }), TIMEOUT_MS);
    });
    const value = await Promise.race([source.read(), late]);
    clearTimeout(timer);
    return value;
  } catch (error) {
    return { error: (error as Error)?.name || "unknown" };
  }
}

/** Read every source. Never rejects: a source that fails is a value with its reason. */
export async function collectSignals(sources: Source[] = SOURCES): Promise<Reading> {
  const reading: Reading = { v: VERSION, s: {} };
  for (const source of sources) {
    await nextIdle();
    reading.s[source.name] = await readSource(source);
  }
  return reading;
}
