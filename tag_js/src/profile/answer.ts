// What the collector says of the visitor. An answer of another form is no answer.

import type { Profile } from "../api";

export const NOBODY: Profile = { known: false, level: 0, traits: {}, audiences: [], offers: [] };

/** Take an answer over, part by part. Throws where it has another form. */
export function readAnswer({ v, known, level, traits, audiences, offers }: Profile & { v: unknown }): Profile {
  if (v !== 1) throw v;
  const isKnown = known === true;
  return {
    known: isKnown,
    level: +level || 0,
    traits: { ...(isKnown && traits) },
    audiences: [...audiences],
    offers: offers.map((offer) => ({ ...offer, content: { ...(!offer.held_out && offer.content) } })),
  };
}
