// What people do with the page, by one listener each: clicks that the site has named, links that lead away, files,
// the first video or audio that plays. Never what is written on the page, never query or fragment of a link.

import { findLink, findOnPath, isForUs, listen } from "./composed";
import { quiet } from "./quiet";
import type { Track } from "./wire";

const FILE = /\.(pdf|zip|(doc|xls|ppt)x?|csv|exe|dmg|apk|mp[34])$/;

/**
 * Note clicks. `isOn`: whether outbound, downloads, clicks are wanted; `clicks`: event names by CSS selector. A link to a
 * file is a download and nothing else, wherever it leads.
 */
export function watchClicks(isOn: (word: string) => boolean, clicks: Record<string, string>, track: Track): void {
  const onClick = (event: MouseEvent): void => {
    const link = findLink(event);
    // The middle button opens links, and does nothing else; the others open menus.
    if (!isForUs(event) || event.button > (link ? 1 : 0)) return;
    const note = (selector: string): void => {
      const element = findOnPath(event, selector);
      if (!element) return;
      const data: Record<string, string> = {};
      for (const { name, value } of element.attributes as unknown as Attr[]) {
        if (name.startsWith("data-ts-")) data[name.slice(8).replace(/-/g, "_")] = value;
      }
      const { event: own, ...props } = data;
      const name = clicks[selector] || own;
      if (name) track(name, props);
    };
    // Each by itself, so that a selector that the browser does not understand costs no other.
    if (isOn("clicks")) ["[data-ts-event]", ...Object.keys(clicks)].forEach(quiet(note));
    if (!link?.host) return; // a mail address, a script
    const { host, pathname } = link;
    const url = link.origin + pathname;
    const extension = FILE.exec((link.download || pathname).toLowerCase())?.[1];
    if (isOn("downloads") && (extension || link.hasAttribute("download"))) {
      track("file_download", { url, extension });
    } else if (isOn("outbound") && host !== location.host) track("outbound_click", { url, host });
  };
  listen("click auxclick", onClick);
}

/** Call `start` once, when the first video or audio plays: the event's target. */
export function watchMedia(start: (event: Event) => void): void {
  addEventListener("play", quiet(start), { capture: true, once: true });
}
