// Starts the tag: the one file that does something by being loaded.
//
// Order matters. First the tagged link's token leaves the address bar. Then the global function is ours and keeps
// calls, until a site is known (from the script element or from `init`) and the page is really shown, not rendered in
// advance. Then the tag starts: what was said about consent comes first, the page view next, everything else in order.

import { whenActivated } from "./lifecycle";
import { takeLink } from "./link";
import { findInit, type Stub, takeOver } from "./queue";
import { quiet } from "./quiet";
import { readSettings } from "./settings";
import { createTag } from "./tag";

quiet(() => {
  const script = document.currentScript as HTMLScriptElement | null;
  const name = script?.dataset.global || "tagstitch";
  const scope = window as unknown as Record<string, Stub | undefined>;
  const snippet = scope[name];
  if (snippet?.isTagstitch) return; // the tag stands on the page twice

  const calls = Array.from(snippet?.q || []);
  const token = takeLink(readSettings(script, findInit(calls)).link, snippet?.u);
  let isBegun = false;

  const begin = (): void => {
    const settings = readSettings(script, findInit(calls));
    if (isBegun || !settings.site) return;
    isBegun = true;
    whenActivated(() => {
      const note = settings.debug ? debug : () => {};
      scope[name] = takeOver(calls, createTag(settings, token, note), note);
    });
  };

  const keep: Stub = (...call) => {
    calls.push(call);
    if (call[0] === "init") quiet(begin)();
  };
  keep.isTagstitch = true;
  scope[name] = keep;
  begin();
})();

function debug(text: string, detail?: unknown): void {
  // biome-ignore lint/suspicious/noConsole: only where the site asks for it.
  console.log(`tagstitch: ${text}`, detail ?? "");
}
