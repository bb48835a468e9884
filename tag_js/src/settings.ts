// The settings of the tag on this page: data attributes of its script element, and `init`, which is the stronger.

import type { Preset } from "./consent";
import type { WireEvent } from "./wire";

const DEFAULTS = {
  /** Site id. Without one the tag waits for `init`. */
  site: "",
  /** Address that takes the beacons; empty: `b` beside the tag. */
  endpoint: "",
  consent: "required" as Preset,
  /** Consent tools to listen to: `tcf`, `gpp`, `google`, with a space between. */
  consentFrom: "",
  /** Name of the cookie; what else is kept on the device has names that begin with it. */
  cookie: "_ts_v",
  /** Domain of the cookie; "" for this host alone. */
  cookieDomain: "",
  sessionMinutes: 30,
  /** URL parameter of tagged links. */
  link: "lt",
  /** Hosts to which the visitor is handed over, with a space between. */
  domains: "",
  /** URL parameter that hands a visitor over. */
  handover: "_tsh",
  /** Whether the first page view is sent by itself; "off" says no too. */
  page: "on" as boolean | "on" | "off" | "",
  /**
   * What is noted by itself: words out of spa, hash, outbound, downloads, forms, clicks, engagement, media, vitals, with
   * a space between. Empty: all but hash and vitals. `none`: nothing.
   */
  auto: "",
  /** Customer identifiers to pick up: `kind=source:name`, with a space between. */
  capture: "",
  /** Name of the page's data layer. */
  dataLayer: "dataLayer",
  /** Fill the page's slots: milliseconds that they wait for the profile at most. */
  profile: "" as number | string,
  /** Explain what is done, in the console; "overlay": on the page as well; "off": no. */
  debug: "off" as boolean | "" | "off" | "overlay",
};

export type Settings = typeof DEFAULTS & {
  /** Address of the tag itself: its modules lie beside it. */
  script: string;
  nonce: string;
  /** Names of events for clicks, by CSS selector. */
  clicks: Record<string, string>;
  /** Looks at each event before it is queued; what it returns goes instead, nothing where it returns null. */
  beforeSend?: (event: WireEvent) => WireEvent | null | undefined;
};

export type Init = Partial<Settings>;

/** Whether a switch is on: an attribute without value, `on`, `true`, `overlay`. */
export function isYes(value: unknown): boolean {
  return /^($|t|on|ov)/.test(value as string);
}

/** Put together what the script element and `init` say. `data-consent="implied"` is `init`'s `consent: "implied"`. */
export function readSettings(script: HTMLScriptElement | null, init: Init): Settings {
  // Attributes that are none of ours do no harm.
  const settings: Settings = {
    ...DEFAULTS,
    script: script?.src || "",
    nonce: script?.nonce || "",
    clicks: {},
    ...script?.dataset,
    ...init,
  };
  const { endpoint } = settings;
  settings.endpoint = new URL(endpoint || "b", (!endpoint && settings.script) || location.href).href;
  return settings;
}
