// Starts the tag: the one file that does something by being loaded.
//
// Order matters. First the tagged link's token leaves the address bar, then settings are read, then, once the page is
// really shown and a site is known, the tag starts and takes over the calls that the snippet has kept.

import { whenActivated } from "./lifecycle";
import { takeLink } from "./link";
import { findInit, type Stub, takeOver } from "./queue";
import { readSettings, type Settings } from "./settings";
import { createTag } from "./tag";

function start(): void {
  const script = document.currentScript;
  const name = (script as HTMLScriptElement | null)?.dataset.global || "tagstitch";
  const scope = window as unknown as Record<string, unknown>;
  const stub = scope[name] as Stub | undefined;
  if (stub?.isTagstitch) return; // the tag stands on the page twice

  const token = takeLink(readSettings(script, findInit(stub) || {}).link, stub?.u);

  const begin = (settings: Settings): void =>
    whenActivated(() => {
      const note = settings.debug ? debug : () => {};
      takeOver(scope, name, scope[name] as Stub | undefined, createTag(settings, token, note), note);
    });

  const settings = readSettings(script, findInit(stub) || {});
  if (settings.site) return begin(settings);
  // Without a site: keep the calls, as the snippet did, until `init` names one.
  const calls = Array.from(stub?.q || []);
  const wait: Stub = (...call) => {
    calls.push(call);
    if (call[0] !== "init") return;
    const late = readSettings(script, findInit(wait) || {});
    if (late.site) begin(late);
  };
  wait.q = calls;
  scope[name] = wait;
}

function debug(text: string, detail?: unknown): void {
  // biome-ignore lint/suspicious/noConsole: only where the site asks for it.
  console.log(`tagstitch: ${text}`, detail ?? "");
}

try {
  start();
} catch {
  // The page must not notice.
}
