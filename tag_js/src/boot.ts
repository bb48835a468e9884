// How the tag comes to life, whatever brought it to the page: the script (entry.ts) or the package (package.ts).
//
// Order matters. First our parameters leave the address bar. Then calls are kept until a site is known (from the script
// element or from `init`) and the page is really shown, not rendered in advance. Then the tag starts: what was said about
// consent comes first, the page view next, everything else in order.

import { takeParameters } from "./address";
import { whenActivated } from "./lifecycle";
import { type Feed, loadModule } from "./modules";
import type { Noting } from "./notes";
import { findInit, type Stub, takeOver } from "./queue";
import { quiet } from "./quiet";
import { type Init, isYes, readSettings, type Settings } from "./settings";
import { createTag } from "./tag";

/**
 * Keep calls and start as soon as possible. `name`: of the global function, which the snippet may have made and which
 * is ours from here on. Does nothing where a tag is there already.
 */
export function boot(script: HTMLScriptElement | null, name: string): void {
  const scope = window as unknown as Record<string, Stub | undefined>;
  const snippet = scope[name];
  if (snippet?.isTagstitch) return; // the tag stands on the page twice
  const calls = [...(snippet?.q || [])];
  const read = (): Settings => readSettings(script, findInit(calls) as Init);
  const found = takeParameters(read(), snippet?.u);
  let isBegun = false;

  const begin = (): void => {
    const settings = read();
    if (isBegun || !settings.site) return;
    isBegun = true;
    whenActivated(() => {
      const note = isYes(settings.debug) ? explain(settings) : () => {};
      scope[name] = takeOver(calls, createTag(settings, found, note), note);
    });
  };

  const keep: Stub = (...call) => {
    calls.push(call);
    quiet(begin)();
  };
  keep.isTagstitch = true;
  scope[name] = keep;
  begin();
}

/** Debug mode: what is done and why. The module that explains it is asked for at once, and told what was said before. */
function explain(settings: Settings): Noting {
  const feed: Feed = { notes: [], debug: settings.debug };
  loadModule("o", settings, (show) => show(feed));
  return (said, detail) => {
    const note = { atMs: Date.now(), said, detail };
    feed.notes.push(note);
    feed.onNote?.(note);
  };
}
