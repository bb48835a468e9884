// The words of debug mode: what each note means. The first word is its kind.

import { Said } from "../notes";

const WORDS: Record<Said, `${"sent" | "held" | "refused" | "note"} ${string}`> = {
  [Said.Queued]: "note queued",
  [Said.Held]: "held held until consent",
  [Said.DroppedNoConsent]: "refused dropped: no consent",
  [Said.DroppedByHook]: "refused dropped by beforeSend",
  [Said.Consent]: "note consent",
  [Said.Silent]: "refused silent: the person has objected, or the collector has asked for silence",
  [Said.DoubleView]: "note page ignored: this view is counted already",
  [Said.NoValue]: "refused ignored: no value",
  [Said.NoCommand]: "refused no such command",
  [Said.Failed]: "refused failed",
  [Said.AddOnFailed]: "refused add-on failed",
  [Said.Sending]: "sent sending",
  [Said.SentOnLeaving]: "sent sent on leaving",
  [Said.Refused]: "refused refused by the collector",
  [Said.PartlyRefused]: "refused partly refused by the collector",
  [Said.WillRetry]: "held no answer, will try again",
};

/** Kind (sent: on its way, held: not yet, refused: never, note: anything else) and words of a note. */
export function describe(said: Said): [kind: string, words: string] {
  // A tag of another version may say what is not known here.
  const [kind, ...words] = (WORDS[said] || `note ${said}`).split(" ");
  return [kind as string, words.join(" ")];
}
