// The tag as a package: the same tag as the script's, bundled by the site's own build, without a script to load.
//
// Nothing happens by importing it: it may be imported where there is no window. On a server every call is dropped, not
// kept, because what is kept there would be the next visitor's. In the browser there is one tag per page, whoever
// starts it: the script, this package, or two copies of it; it stands under the global function's name.

import type * as api from "./api";
import { boot } from "./boot";
import type { Call, Stub } from "./queue";
import { quiet } from "./quiet";
import type { Init } from "./settings";

const PROFILE_MS = 5000;
const MAX_CALLS = 500; // before `start`, which a site may never call

type Scope = Record<string, Stub | undefined>;

const calls: Call[] = []; // before `start`
let global = ""; // name of the global function, once started

function call(...given: unknown[]): void {
  if (typeof window === "undefined") return;
  const run = (window as unknown as Scope)[global];
  if (global) typeof run === "function" && quiet(run)(...given);
  else if (calls.length < MAX_CALLS) calls.push(given);
}

/** A function that stands for one command. */
// biome-ignore lint/suspicious/noExplicitAny: what may be given is said by the type that each is exported under.
function command(name: string): (...given: any[]) => void {
  return (...given) => call(name, ...given);
}

export const start: typeof api.start = (settings) => {
  if (typeof window === "undefined" || global) return tagstitch;
  const { global: name = "tagstitch", ...given } = settings;
  global = name;
  quiet(() => {
    const scope = window as unknown as Scope;
    const found = scope[name];
    const kept = calls.splice(0);
    if (found?.isTagstitch) {
      for (const one of kept) call(...Array.from(one));
    } else {
      // What the page's snippet has kept was called before this code ran.
      const stub: Stub = () => {};
      stub.q = [["init", readInit(given)], ...Array.from(found?.q || []), ...kept];
      if (found?.u) stub.u = found.u;
      scope[name] = stub;
      boot(null, name);
    }
  })();
  return tagstitch;
};

/** Addresses that were not given lie where a site has them on its own origin, beside each other. */
function readInit(given: api.Settings): Init {
  const script = given.script || (given.endpoint ? "" : "/x/t.js");
  return { ...given, script: script && new URL(script, location.href).href } as Init;
}

export const tagstitch: api.Tagstitch = call;
export const page: typeof api.page = command("page");
export const track: typeof api.track = command("track");
export const identify: typeof api.identify = command("identify");
export const alias: typeof api.alias = command("alias");
export const group: typeof api.group = command("group");
export const reset: typeof api.reset = command("reset");
export const consent: typeof api.consent = command("consent");
export const optOut: typeof api.optOut = command("optOut");
export const optIn: typeof api.optIn = command("optIn");
export const link: typeof api.link = command("link");
export const on: typeof api.on = command("on");
export const onProfile: typeof api.onProfile = (listener) => {
  let isOn = true;
  call("onProfile", (found: api.Profile) => isOn && listener(found));
  return () => {
    isOn = false;
  };
};
export const profile: typeof api.profile = () =>
  new Promise((resolve) => {
    const stop = onProfile(resolve);
    const giveUp = (): void => {
      stop();
      resolve({ known: false, level: 0, traits: {}, audiences: [], offers: [] });
    };
    if (typeof window === "undefined") giveUp();
    else setTimeout(giveUp, PROFILE_MS);
  });
export const use: typeof api.use = command("use");
