// The lazy modules: scripts of their own beside the tag, loaded only when they are wanted, and when the browser is idle.
// The tag knows one of them, the index, which knows the others: so a page that wants none pays for one digest.
//
// A module hands itself over on its own script element, so that it needs no global name. Its address carries the first
// letters of its digest, and the whole digest stands in the tag: what was tampered with on the way does not run.

import type { Profile } from "./api";
import { whenIdle } from "./browser";
import type { Answer } from "./consent";
import type { Item } from "./envelope";
import type { Said } from "./notes";
import type { Commands } from "./queue";
import { quiet } from "./quiet";
import type { Settings } from "./settings";
import type { Props, Signals, Track } from "./wire";

/** What each module is once it has loaded. */
export interface Modules {
  /** Consent tools: listen to those that the settings name; `answer` is called with all purposes, on change. */
  c: (settings: Settings, answer: (answer: Answer, about?: Props) => void) => void;
  /** Device signals: read them all. Never rejects. */
  f: () => Promise<Signals>;
  /** Web vitals: called once; `report` is called once for each view, when it is hidden first, with what is known then. */
  v: (report: (props: Props) => void) => void;
  /** Video and audio: called once, with the first element that plays. */
  m: (track: Track, element: HTMLMediaElement) => void;
  /**
   * The profile: called once, with the page's listeners, those to come included. What it returns is called when `mayKnow`
   * may have changed, and with the items that the collector has taken.
   */
  p: (
    listeners: (ProfileListener | undefined)[],
    settings: Settings,
    commands: Commands,
    mayKnow: () => boolean,
  ) => (items?: Item[]) => void;
  /** Debug mode: explains each note in the console and, where wanted, in a panel; those kept so far first. */
  o: (feed: Feed) => void;
}

export type ProfileListener = (profile: Profile) => void;

/** What the tag did or did not do, and why. */
export interface Note {
  atMs: number;
  said: Said;
  detail?: unknown;
}

export interface Feed {
  /** Notes so far. */
  notes: Note[];
  /** The setting: with "overlay" a panel is shown on the page; the console is written to in any case. */
  debug: Settings["debug"];
  /** Set by the module: called with each further note. */
  onNote?: (note: Note) => void;
}

export interface ModuleElement extends HTMLScriptElement {
  run?: unknown;
}

/** Address of a script: beside the tag, under the tag's name. `/x/t.js` → `/x/t-f-<hash>.js`. */
export function moduleAddress(script: string, key: string, digest: string): string {
  return script.replace(/(-\d[\w.]+-\w{8})?(\.js)?([?#].*)?$/, `-${key}-${digest.replace(/\W/g, "").slice(0, 8)}.js`);
}

interface Policy {
  createScriptURL(url: string): string;
}

let policy: Policy | undefined;

/** Under Trusted Types only a policy may name a script; `trusted-types tagstitch` allows ours. */
function trust(url: string): string {
  const { trustedTypes } = window as { trustedTypes?: { createPolicy(name: string, rules: Policy): Policy } };
  policy ||= trustedTypes?.createPolicy("tagstitch", { createScriptURL: (asked) => asked });
  return policy?.createScriptURL(url) ?? url;
}

/**
 * Load a module and hand it to `use`. Where it is blocked or fails: never. `isWanted` is asked again before anything
 * of it runs, because consent may have gone while it was on its way.
 */
export function loadModule<K extends keyof Modules>(
  key: K,
  settings: Settings,
  use: (run: Modules[K]) => void,
  isWanted = (): boolean => true,
): void {
  const load = (name: string, digest: string, onLoad: (run: unknown) => void): void => {
    if (!isWanted()) return;
    const element: ModuleElement = document.createElement("script");
    element.src = trust(moduleAddress(settings.script, name, digest));
    element.crossOrigin = "anonymous";
    element.integrity = `sha256-${digest}`;
    element.nonce = settings.nonce;
    element.onload = element.onerror = quiet(() => {
      element.remove();
      if (element.run && isWanted()) onLoad(element.run);
    });
    document.head.append(element);
  };
  if (settings.script) {
    whenIdle(() => {
      load("i", __INDEX__, (digests) => load(key, (digests as Record<string, string>)[key] as string, use as never));
    }, 2000);
  }
}
