// The parameters that stand in an address for the tag alone: taken off the address bar at once, before other scripts,
// referrers and bookmarks see them. They are never stored on the device and never put anywhere but into a beacon.

import type { Settings } from "./settings";

export type Parameters = Record<string, string>;

/** Return `url` without the parameters that are wanted, and their values as they stood. The fragment is left alone. */
export function splitAddress(url: string, isWanted: (name: string, value: string) => boolean): [string, Parameters] {
  const found: Parameters = {};
  const rest = url.replace(/^[^#]+/, (page) =>
    page
      .replace(/([?&])([^=&?]+)=([^&]+)/g, (all, before: string, name: string, value: string) => {
        if (!isWanted(name, value)) return all;
        found[name] = value;
        return before === "?" ? before : "";
      })
      .replace(/\?(&|$)/, (_, after: string) => after && "?"),
  );
  return [rest, found];
}

/** Take our parameters off the address bar. `landing` is the address as the snippet found it, where it was first. */
export function takeParameters(settings: Settings, landing: string | undefined): Parameters {
  // A token has a form; a short value under the same name is somebody else's. What the site captures is anything.
  const isWanted = (name: string, value: string): boolean =>
    ` ${settings.capture} `.includes(`=param:${name} `) ||
    ((name === settings.link || name === settings.handover) && /^[\w.~-]{20,2048}$/.test(value));
  const { href } = location;
  const [url, found] = splitAddress(href, isWanted);
  // The prototype's own function: a router or another tag may have put its own on `history`, and would see them.
  if (url !== href) History.prototype.replaceState.call(history, history.state, "", url);
  return { ...splitAddress(landing || "", isWanted)[1], ...found };
}
