// What brought the visitor here: campaign parameters, click ids, the referring host.

import { keep, recallJson } from "./device";
import type { Props } from "./wire";

// Click ids of advertising systems: those of collector/accept/minimise.py (a test holds that) and such as look like them.
// What is kept of them is decided there.
const CLICK_ID = /(cl|clk|mc_c|rdt_c|scc|_fat_|igsh)id$|braid$|^(gclsrc|epik)$/;

export interface Landing {
  /** Campaign, click id by name, and referring host of the page as it was opened. */
  touch: Props;
  /** Digest of the campaign and of the tagged link's token; "" where there are none. */
  campaign: string;
}

/** Read what the address and the referrer say. `token`: the tagged link's, "" without. */
export function readLanding(token: string): Landing {
  const touch: Props = {};
  let text = token;
  new URLSearchParams(location.search).forEach((value, name) => {
    const isClickId = CLICK_ID.test(name);
    if (isClickId) touch.click_id = name;
    else if (/^utm_/.test(name)) touch[name] = value.slice(0, 200);
    else return;
    text += name + value;
  });
  // As text: an image or form with such a name takes the property's place.
  const host = `${document.referrer}`.split("/")[2];
  if (host && host !== location.host) touch.referrer = host;
  return { touch, campaign: text && digest(text) };
}

/**
 * Keep the touch at `time` (milliseconds since 1970) as the visitor's last, and as the first where there was none.
 * Returns both for the event; the last one only where it is another.
 */
export function keepTouch(name: string, touch: Props, time: number): Props {
  const kept = (recallJson(name) || {}) as { f?: Props; l?: Props };
  const now = { ...touch, time };
  const f = kept.f || now;
  // Who comes without a campaign or a referrer comes back by themselves: what brought them last still counts.
  const l = (!Object.keys(touch)[0] && kept.l) || now;
  keep(name, JSON.stringify({ f, l }));
  // What says the same twice is said once.
  return f === l ? { first_touch: f } : { first_touch: f, last_touch: l };
}

/** FNV-1a, 32 bit, in base 36: short, and a collision only joins two sessions or leaves out one repeated claim. */
export function digest(text: string): string {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return value.toString(36);
}
