// Hands the visitor over to another domain of the organisation: the link gets a short-lived token of the collector's
// while it is followed, and only then. The token names nobody to whoever reads it; see docs/adr/0016.

import { splitAddress } from "./address";
import { findLink, listen } from "./composed";
import type { Settings } from "./settings";

const FRESH_MS = 240_000; // the collector takes a token for five minutes

export interface Handover {
  /** The collector has sent a token. */
  keep(token: string): void;
  /** Put the token into an address of a listed host; any other address comes back as it is. */
  decorate(url: string): string;
}

/** `mayUse`: whether the visitor may be told on now. `ask` gets a new token; it is called when a pointer or the focus comes near a link that wants one. */
export function createHandover(settings: Settings, mayUse: () => boolean, ask: () => void): Handover {
  let token = "";
  let atMs = 0;
  const isFresh = (): boolean => Date.now() - atMs < FRESH_MS;
  const hosts = settings.domains.split(" ");
  const name = settings.handover;

  const isListed = (url: string): boolean => {
    const host = new URL(url, location.href).hostname;
    return host !== location.hostname && hosts.some((domain) => `.${host}`.endsWith(`.${domain}`));
  };
  const decorate = (url: string): string => {
    if (!token || !mayUse() || !isFresh() || !isListed(url)) return url;
    const [bare] = splitAddress(url, (other) => other === name);
    return bare.replace(/(\?[^#]*)?(?=#|$)/, (query) => `${query ? `${query}&` : "?"}${name}=${token}`);
  };

  if (settings.domains) {
    const onNear = (event: Event): void => {
      if (isFresh()) return;
      const link = findLink(event);
      if (link && isListed(link.href)) {
        atMs = Date.now(); // not again before the answer, or where there is none
        ask();
      }
    };
    const onClick = (event: Event): void => {
      const link = findLink(event);
      if (!link || decorate(link.href) === link.href) return;
      const plain = link.getAttribute("href") as string;
      link.href = decorate(link.href);
      // Once the browser has taken the address: who copies the link shall not copy the token.
      setTimeout(() => link.setAttribute("href", plain));
    };
    listen("pointerover focusin", onNear);
    listen("click auxclick", onClick);
  }
  return {
    keep(fresh) {
      token = fresh;
      atMs = Date.now();
    },
    decorate,
  };
}
