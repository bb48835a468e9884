// Queued events → one beacon. What all events of a batch share is said once.

import { type BrowserFacts, type Context, type Envelope, type Extra, WIRE_VERSION, type WireEvent } from "./wire";

/** An event on its way: what it says, what was frozen with it, and whether it was tried before. */
export interface Item {
  event: WireEvent;
  context: Context;
  extra: Extra;
  isTried?: boolean;
}

/** An event that waits for consent: nothing is frozen with it yet. */
export type Draft = Omit<Item, "context">;

/** Build the beacon of `items`, which share one context. */
export function buildEnvelope(site: string, items: Item[], facts: BrowserFacts): Envelope {
  const envelope: Envelope = {
    v: WIRE_VERSION,
    s: site,
    st: Date.now(),
    ...items[0]?.context,
    ...facts,
    e: items.map((item) => ({ ...item.event })),
  };
  for (const { extra } of items) Object.assign(envelope, extra);
  // Address, referrer and title move to the envelope only where all agree: an event cannot say "none" against it.
  for (const field of ["u", "r", "h"] as const) {
    const shared = envelope.e[0]?.[field];
    if (envelope.e.every((event) => event[field] === shared)) {
      if (shared) envelope[field] = shared;
      for (const event of envelope.e) delete event[field];
    }
  }
  return envelope;
}
