// The settings of the tag on this page: data attributes of its script element, and `init`, which is the stronger.

import type { Preset } from "./consent";

export interface Settings {
  /** Site id. Without one the tag waits for `init`. */
  site: string;
  /** Address that takes the beacons. */
  endpoint: string;
  /** Address of the tag itself: its modules lie beside it. */
  script: string;
  consent: Preset;
  cookie: string;
  /** Domain of the cookie; "" for this host alone. */
  cookieDomain: string;
  sessionMinutes: number;
  /** URL parameter of tagged links. */
  link: string;
  /** Whether the first page view is sent by itself. */
  page: boolean;
  debug: boolean;
  nonce: string;
}

export type Init = Partial<Omit<Settings, "script">>;

/** Put together what the script element and `init` say. `data-consent="implied"` is `init`'s `consent: "implied"`. */
export function readSettings(script: HTMLScriptElement | null, init: Init): Settings {
  const data = script?.dataset || {};
  const src = script?.src || "";
  const settings: Settings = {
    site: data.site || "",
    endpoint: data.endpoint || (src && new URL("b", src).href),
    script: src,
    consent: (data.consent as Preset) || "required",
    cookie: data.cookie || "_ts_v",
    cookieDomain: data.cookieDomain || "",
    sessionMinutes: Number(data.sessionMinutes) || 30,
    link: data.link || "lt",
    page: data.page !== "off",
    debug: data.debug !== undefined && data.debug !== "off",
    nonce: script?.nonce || "",
    ...init,
  };
  settings.endpoint = new URL(settings.endpoint, location.href).href;
  return settings;
}
