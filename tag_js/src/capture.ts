// Customer identifiers that the site has told the tag to pick up: `kind=source:name`, with a space between.
//
// Sources: `param` (of the landing address, see address.ts), `cookie`, `meta`, `data` (the newest entry of the data
// layer that has the path), `js` (a path from `window`). The collector takes them as claims: nobody has signed them.

import type { Parameters } from "./address";
import { readCookie } from "./cookie";
import { readValue } from "./identify";
import type { Settings } from "./settings";
import type { WireIdentifier } from "./wire";

const MAX_LENGTH = 256;

/** Read what there is. Cookies are on the device: only with consent to analytics. */
export function capture(settings: Settings, parameters: Parameters): WireIdentifier[] {
  const layer = (window as unknown as Record<string, unknown>)[settings.dataLayer];
  const read: Record<string, (name: string) => unknown> = {
    param: (name) => decode(parameters[name]),
    cookie: (name) => decode(readCookie(name)),
    meta: (name) => document.querySelector<HTMLMetaElement>(`meta[name=${JSON.stringify(name)}]`)?.content,
    js: (name) => follow(window, name),
    data: (name) =>
      Array.from(layer as ArrayLike<unknown>, (entry) => follow(entry, name))
        .filter((value) => value)
        .pop(),
  };
  const found: WireIdentifier[] = [];
  for (const spec of settings.capture.split(" ")) {
    const [, k, o, name] = /^(\w+)=(\w+):(.+)/.exec(spec) || [];
    try {
      const v = readValue((read[o as string] as (name: string) => unknown)(name as string));
      if (v && v.length <= MAX_LENGTH) found.push({ k, v, o } as WireIdentifier);
    } catch {
      // A source that is none, a getter that throws, a value that is no URI: nothing to be had there.
    }
  }
  return found;
}

function follow(from: unknown, path: string): unknown {
  return path.split(".").reduce((value, key) => (value as Record<string, unknown> | undefined)?.[key], from);
}

function decode(text = ""): string {
  return decodeURIComponent(text.replace(/\+/g, " "));
}
