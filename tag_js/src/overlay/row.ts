// A row of the panel: when, of which kind, what in one line, and everything when it is opened.

import type { Note } from "../modules";
import { Said } from "../notes";
import { quiet } from "../quiet";
import type { Envelope, WireEvent } from "../wire";
import { make } from "./make";
import { describe } from "./words";

/** Purposes by their letters on the wire. */
export const PURPOSES: Record<string, string> = {
  a: "analytics",
  i: "identity",
  f: "fingerprint",
  p: "personalisation",
  m: "marketing",
};

export function makeRow(note: Note): HTMLElement {
  const [kind] = describe(note.said);
  const at = new Date(note.atMs);
  const time = `${at.toTimeString().slice(0, 8)}.${`${at.getMilliseconds()}`.padStart(3, "0")}`;
  const details = make(
    "details",
    {},
    make("summary", {}, make("time", {}, time), make("i", {}, kind), make("span", {}, summarise(note))),
  );
  const spread = quiet(() => details.append(make("pre", { tabindex: "0" }, spellOut(note.detail))));
  details.addEventListener("toggle", spread, { once: true });
  return make("li", { class: kind }, details);
}

/** One line: what was done, and to which events. */
export function summarise({ said, detail }: Note): string {
  const [, words] = describe(said);
  if (said === Said.Sending) return (JSON.parse(detail as string) as Envelope).e.map((event) => event.n).join(", ");
  if (said === Said.Queued || said === Said.Held) return `${(detail as WireEvent).n}: ${words}`;
  if (said === Said.Consent) {
    const granted = Array.from((detail as string) || "", (letter) => PURPOSES[letter]);
    return `${words}: ${granted.join(", ") || "nothing granted"}`;
  }
  const more = detail === undefined ? "" : detail instanceof Error ? detail.message : [detail].flat().join(" ");
  return more ? `${words}: ${more}` : words;
}

/** The whole detail as text: a beacon as the wire has it, spread out for reading. */
export function spellOut(detail: unknown): string {
  if (detail instanceof Error) return `${detail.stack}`;
  let value = detail;
  try {
    value = JSON.parse(detail as string);
  } catch {
    // Text, or no text at all.
  }
  return typeof value === "string" ? value : JSON.stringify(value, null, 2) || "no more is known";
}
