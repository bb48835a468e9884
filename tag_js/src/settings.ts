// The settings of the tag on this page: data attributes of its script element, and `init`, which is the stronger.

import type { Preset } from "./consent";
import type { WireEvent } from "./wire";

/** What `auto` is unless the site says otherwise. */
export const AUTO = "spa outbound downloads forms clicks engagement media";

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
  /** Explain in the console; "overlay": on the page as well. */
  debug: boolean | "overlay";
  nonce: string;
  /** What is noted by itself: words of AUTO, with a space between. */
  auto: string;
  /** Customer identifiers to pick up: `kind=source:name`, with a space between. */
  capture: string;
  /** Consent tools to listen to: `tcf`, `gpp`, `google`, with a space between. */
  consentFrom: string;
  /** Hosts to which the visitor is handed over, with a space between. */
  domains: string;
  /** URL parameter that hands a visitor over. */
  handover: string;
  /** Name of the page's data layer. */
  dataLayer: string;
  /** Names of events for clicks, by CSS selector. */
  clicks: Record<string, string>;
  /** Looks at each event before it is queued; what it returns goes instead, nothing where it returns null. */
  beforeSend?: (event: WireEvent) => WireEvent | null | undefined;
}

export type Init = Partial<Settings>;

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
    debug: data.debug === "overlay" || (data.debug !== undefined && data.debug !== "off"),
    nonce: script?.nonce || "",
    auto: data.auto ?? AUTO,
    capture: data.capture || "",
    consentFrom: data.consentFrom || "",
    domains: data.domains || "",
    handover: data.handover || "_tsh",
    dataLayer: data.dataLayer || "dataLayer",
    clicks: {},
    ...init,
  };
  settings.endpoint = new URL(settings.endpoint, location.href).href;
  return settings;
}
