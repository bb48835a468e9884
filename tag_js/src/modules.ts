// The lazy modules: scripts of their own beside the tag, loaded only when they are wanted, and when the browser is idle.
//
// A module hands itself over on its own script element, so that it needs no global name. Its address carries the first
// letters of its digest, and the whole digest stands in the tag: what was tampered with on the way does not run.

import { whenIdle } from "./browser";
import type { Said } from "./notes";
import type { Settings } from "./settings";
import type { Props, Signals, Track } from "./wire";

/** What each module is once it has loaded. */
export interface Modules {
  /** Device signals: read them all. Never rejects. */
  f: () => Promise<Signals>;
  /** Web vitals: called once; `report` is called once, when the page is hidden first, with what is known by then. */
  v: (report: (props: Props) => void) => void;
  /** Video and audio: called once, with the first element that plays. */
  m: (track: Track, element: HTMLMediaElement) => void;
  /** Debug mode: explains each note in the console and, where wanted, in a panel; those kept so far first. */
  o: (feed: Feed) => void;
}

/** What the tag did or did not do, and why. */
export interface Note {
  atMs: number;
  said: Said;
  detail?: unknown;
}

export interface Feed {
  /** Notes so far. */
  notes: Note[];
  /** Show a panel on the page; the console is written to in any case. */
  isPanelWanted: boolean;
  /** Set by the module: called with each further note. */
  onNote?: (note: Note) => void;
}

export interface ModuleElement extends HTMLScriptElement {
  run?: Modules[keyof Modules];
}

/** Address of a module: beside the tag, under the tag's name. `/x/t.js` → `/x/t-f-<version>-<hash>.js`. */
export function moduleAddress(script: string, key: keyof Modules): string {
  return script.replace(
    /(-\d+\.\d+\.\d+[^/]*-\w{8})?(\.js)?([?#].*)?$/,
    `-${key}-${__VERSION__}-${__MODULES__[key]?.replace(/\W/g, "").slice(0, 8)}.js`,
  );
}

interface Policy {
  createScriptURL(url: string): string;
}

let policy: Policy | undefined;

/** Under Trusted Types only a policy may name a script; `trusted-types tagstitch` allows ours. */
function trust(url: string): string {
  const { trustedTypes } = window as { trustedTypes?: { createPolicy(name: string, rules: Policy): Policy } };
  policy ||= trustedTypes?.createPolicy("tagstitch", { createScriptURL: (asked) => asked });
  return policy ? policy.createScriptURL(url) : url;
}

/**
 * Load a module and hand it to `use`. Where it is blocked or fails: never. `isWanted` is asked again before anything
 * of it runs, because consent may have gone while it was on its way.
 */
export function loadModule<K extends keyof Modules>(
  key: K,
  settings: Settings,
  isWanted: () => boolean,
  use: (run: Modules[K]) => void,
): void {
  if (!settings.script) return;
  whenIdle(() => {
    if (!isWanted()) return;
    const element: ModuleElement = document.createElement("script");
    element.src = trust(moduleAddress(settings.script, key));
    element.crossOrigin = "anonymous";
    element.integrity = `sha256-${__MODULES__[key]}`;
    element.nonce = settings.nonce;
    element.onload = () => {
      element.remove();
      if (element.run && isWanted()) use(element.run as Modules[K]);
    };
    element.onerror = () => element.remove();
    document.head.append(element);
  }, 2000);
}
