// Debug mode: what the tag does, in the console and, where it is wanted, in a panel on the page. It only ever reads what
// it is told: it sends nothing, and keeps nothing on the device.

import type { Feed, Note } from "../modules";
import { quiet } from "../quiet";
import { openPanel } from "./panel";
import { describe } from "./words";

/** Explain the notes so far, and each to come. */
export function explain(feed: Feed): void {
  const show = feed.debug === "overlay" ? openPanel() : () => {};
  const tell = (note: Note): void => {
    // biome-ignore lint/suspicious/noConsole: only where the site asks for it.
    console.log(`tagstitch: ${describe(note.said)[1]}`, note.detail ?? "");
    show(note);
  };
  feed.onNote = quiet(tell);
  feed.notes.forEach(quiet(tell));
}
