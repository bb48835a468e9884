// Counts events by where they are, from what the tag says: held, on their way, sent, refused. An event is in one place.

import type { Note } from "../modules";
import { Said } from "../notes";
import type { WireEvent } from "../wire";

export interface Counts {
  sent: number;
  /** Until consent, or until the network or the collector is back. */
  held: number;
  refused: number;
}

export interface State {
  counts: Counts;
  /** Letters of the granted purposes; undefined while the page has said nothing. */
  letters: string | undefined;
  /** Site id; "" before the first beacon. */
  site: string;
}

export interface Ledger {
  read(): State;
  take(note: Note): void;
}

export function createLedger(): Ledger {
  const held = new Set<string>();
  const sent = new Set<string>();
  let flying: string[] = []; // of the last beacon, until something is said of it
  let left = 0; // sent on leaving: the tag says only how many
  let refused = 0;
  let letters: string | undefined;
  let site = "";

  const dropAll = (): void => {
    refused += held.size;
    held.clear();
  };

  return {
    read: () => ({ counts: { sent: sent.size + left, held: held.size, refused }, letters, site }),
    take({ said, detail }) {
      if (said === Said.Queued || said === Said.Held) held.add((detail as WireEvent).i);
      else if (said === Said.Sending) {
        const { s, e } = JSON.parse(detail as string);
        site = s;
        flying = e.map((event: WireEvent) => event.i);
        for (const id of flying) {
          held.delete(id);
          sent.add(id);
        }
      } else if (said === Said.WillRetry || said === Said.Refused) {
        for (const id of flying) {
          sent.delete(id);
          said === Said.Refused ? refused++ : held.add(id);
        }
        flying = [];
      } else if (said === Said.PartlyRefused) {
        // One reason for each event that was refused, but not which.
        for (const id of flying.splice(0, `${detail}`.split(",").length)) {
          sent.delete(id);
          refused++;
        }
      } else if (said === Said.SentOnLeaving) {
        left += detail as number;
        for (const id of [...held].slice(0, detail as number)) held.delete(id);
      } else if (said === Said.Consent) {
        letters = detail as string | undefined;
        if (!/a/.test(letters || "")) dropAll();
      } else if (said === Said.Silent) dropAll();
      else if (said === Said.DroppedNoConsent || said === Said.DroppedByHook) refused++;
    },
  };
}
