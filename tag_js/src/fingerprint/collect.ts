// Reads all signals, a few milliseconds at a time, so that no task of it is long; what answers later (sound, hints,
// keyboard) works beside the rest.
//
// Nothing is kept for the next page: the tag asks once per session, so a copy in the session's storage would save
// nothing and leave a trace on the device. What several signals need is kept while the module runs.

import { giveWay } from "./pace";
import { readProtection } from "./protection";
import { SOURCES } from "./registry";
import type { Failure, Source, Value } from "./source";

/** Version of the set: a change of what a name means raises it. */
const VERSION = 2;
const TIMEOUT_MS = 3000;

export interface Reading {
  v: number;
  s: Record<string, Value | Failure>;
}

async function readSource({ read, blur }: Source, protection: string): Promise<Value | Failure> {
  if (protection && blur?.includes(protection[0] as string)) return { error: protection };
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    const late = new Promise<Failure>((resolve) => {
      timer = setTimeout(resolve, TIMEOUT_MS, { error: "timeout" });
    });
    const found = (await Promise.race([read(), late])) ?? "";
    return found === "" ? { error: "missing" } : typeof found === "boolean" ? +found : found;
  } catch (error) {
    return { error: (error as Error)?.name || "unknown" };
  } finally {
    clearTimeout(timer);
  }
}

/** Read every source. Never rejects: a source that fails is a value with its reason. */
export async function collectSignals(sources: Source[] = SOURCES): Promise<Reading> {
  const reading: Reading = { v: VERSION, s: {} };
  const protection = await giveWay()
    .then(readProtection)
    .catch(() => "");
  const readings: Promise<void>[] = [];
  for (const source of sources) {
    await giveWay();
    readings.push(
      readSource(source, protection).then((value) => {
        reading.s[source.name] = value;
      }),
    );
  }
  await Promise.all(readings);
  return reading;
}
