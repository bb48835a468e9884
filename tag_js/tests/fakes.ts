// Fakes that the tests share: a collector behind `fetch` and `sendBeacon`, settings, and a world that stands still.

import { vi } from "vitest";
import type { Settings } from "../src/settings";
import type { Envelope } from "../src/wire";

export const NOW_MS = Date.UTC(2026, 10, 20, 10, 0, 0);
export const HANDOVER = "MTIzNDU2Nzg5MGFiY2RlZg.k3V9x0Qm1pZ4aR2b3wVd";
export const TOKEN = "eyJjIjoiNDcxMSJ9.aR2b3w.k3V9x0Qm1pZ4";

/** Settings as a page with `data-consent="off"` has them. */
export function makeSettings(changes: Partial<Settings> = {}): Settings {
  return {
    site: "shop",
    endpoint: "https://shop.example/x/b",
    script: "https://shop.example/x/t.js",
    consent: "implied",
    cookie: "_ts_v",
    cookieDomain: "",
    sessionMinutes: 30,
    link: "lt",
    page: "on",
    debug: "off",
    profile: "",
    nonce: "",
    auto: "none",
    capture: "",
    consentFrom: "",
    domains: "",
    handover: "_tsh",
    dataLayer: "dataLayer",
    clicks: {},
    ...changes,
  };
}

export interface FakeCollector {
  /** Beacons that came by fetch, in order. */
  posted: Envelope[];
  /** Beacons that came by sendBeacon. */
  beaconed: Envelope[];
  requests: RequestInit[];
  /** Answers to come; after them everything is 204. An Error is a network failure. */
  answers: (Response | Error)[];
  /** Largest body that sendBeacon takes. */
  beaconBytes: number;
}

/** Stand a collector behind the browser's functions. */
export function fakeCollector(): FakeCollector {
  const collector: FakeCollector = { posted: [], beaconed: [], requests: [], answers: [], beaconBytes: 65_536 };
  vi.stubGlobal("fetch", async (_url: string, init: RequestInit) => {
    collector.requests.push(init);
    collector.posted.push(JSON.parse(init.body as string));
    const answer = collector.answers.shift() ?? new Response(null, { status: 204 });
    if (answer instanceof Error) throw answer;
    return answer;
  });
  vi.spyOn(navigator, "sendBeacon").mockImplementation((_url, body) => {
    if ((body as string).length > collector.beaconBytes) return false;
    collector.beaconed.push(JSON.parse(body as string));
    return true;
  });
  return collector;
}

/** Stop the clock, and make random numbers that are the same in every run. */
export function standStill(): void {
  vi.useFakeTimers({ now: NOW_MS });
  let next = 0;
  vi.spyOn(crypto, "getRandomValues").mockImplementation((array) => {
    const bytes = array as Uint8Array;
    for (let i = 0; i < bytes.length; i++) {
      next = (Math.imul(next, 1103515245) + 12345) >>> 0;
      bytes[i] = next >>> 16;
    }
    return array;
  });
  vi.spyOn(Math, "random").mockReturnValue(0.5);
}

const listening: (() => void)[] = [];

/** Note what listens to the page from now on, so that a test's tag ends with its test: see `stopListening`. */
export function watchListeners(): void {
  for (const target of [window, document]) {
    const add = target.addEventListener.bind(target);
    vi.spyOn(target as EventTarget, "addEventListener").mockImplementation((type, run, options) => {
      listening.push(() => target.removeEventListener(type, run as EventListener, options));
      add(type, run as EventListener, options);
    });
  }
  const { observe } = MutationObserver.prototype;
  vi.spyOn(MutationObserver.prototype, "observe").mockImplementation(function (this: MutationObserver, ...given) {
    listening.push(() => this.disconnect());
    observe.apply(this, given);
  });
}

/** What a test's tag listens to ends with it, and the page is visible again. */
export function stopListening(): void {
  for (const name of ["visibilityState", "hidden"]) Reflect.deleteProperty(document, name);
  for (const stop of listening.splice(0)) stop();
}

/** Go to an address without loading anything, with nothing on the device. */
export function visit(url: string, referrer = ""): void {
  (window as unknown as { happyDOM: { setURL(url: string): void } }).happyDOM.setURL(url);
  Object.defineProperty(document, "referrer", { value: referrer, configurable: true });
  document.title = "Spring offer";
  localStorage.clear();
  sessionStorage.clear();
  for (const part of document.cookie.split("; ")) {
    // biome-ignore lint/suspicious/noDocumentCookie: the tests look at cookies as the tag writes them.
    document.cookie = `${part.split("=")[0]}=;path=/;max-age=-1`;
  }
}

/** Let the browser say that the page is hidden or visible. */
export function setVisibility(state: "hidden" | "visible"): void {
  Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
  Object.defineProperty(document, "hidden", { value: state === "hidden", configurable: true });
  document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
}
