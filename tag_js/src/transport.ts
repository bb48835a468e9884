// The way out: events wait for a moment, travel in batches, one at a time, and come back to the queue when the network
// or the collector asks for patience. On hide everything leaves by sendBeacon, in the same task.
//
// Invariants: an item is in `waiting`, in flight, or gone; nothing is in two places. What was tried keeps its frozen
// context, because the collector may have it already and knows it by that. Bounded: the oldest go first.

import { buildEnvelope, type Item } from "./envelope";
import { type Noting, Said } from "./notes";
import type { BrowserFacts } from "./wire";

const WINDOW_MS = 300;
const MAX_EVENTS = 20;
const MAX_BYTES = 60_000; // browsers allow 64 KiB in flight for keepalive and sendBeacon
const MAX_WAITING = 500;
const MAX_FAILURES = 8; // then only hide, `online` or a return to the page tries again
const MAX_PAUSE_MS = 60_000;

export interface Reply {
  /** Visitor id that the collector wants to be used, "" where ours stands. */
  visitor: string;
  /** Hand-over token, where one was asked for. */
  pass: string;
  /** The collector's clock minus ours, milliseconds; undefined where the browser does not let us see it. */
  offset: number | undefined;
  /** Seconds for which the collector wants to hear nothing more; 0: it listens. */
  silence: number;
}

export interface TransportOptions {
  site: string;
  endpoint: string;
  facts(): BrowserFacts;
  /** The collector has these, which have one context. */
  onReply(items: Item[], reply: Reply): void;
  /** Keep items on the device for the next page. Returns whether they are kept. */
  save(items: Item[]): boolean;
  /** Take what was kept, in this tab or in one that is closed. */
  restore(): Item[];
  note: Noting;
}

export interface Transport {
  add(item: Item): void;
  /** Put everything on its way now: the page may be gone after this. */
  leave(): void;
  /** The page is visible, or the network is back. */
  resume(): void;
  /** Replace the visitor id of what was never tried. */
  rename(from: string, to: string): void;
  /** Drop what waits, and what is in flight should it come back. */
  clear(): void;
  /** Drop what waits and is like that. */
  drop(isOut: (item: Item) => boolean): void;
}

export function createTransport(options: TransportOptions): Transport {
  const { note } = options;
  let waiting: Item[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined; // of the next send; a pause is kept by planning once only
  let notBeforeMs = 0; // the collector asked for patience until then
  let flying: Item[] | undefined; // on their way by fetch, not answered yet; empty where they are wanted no more
  let isLeft = false;
  let failures = 0;

  const encode = (items: Item[]): string => JSON.stringify(buildEnvelope(options.site, items, options.facts()));
  /** Whether the body is larger than browsers let pass when a page is left. A Blob is made in another process: rarely. */
  const isLarge = (body: string): boolean => body.length * 3 > MAX_BYTES && new Blob([body]).size > MAX_BYTES;

  /** Take the next batch off the queue: one context, within the bounds. */
  const take = (): Item[] => {
    const key = (item: Item | undefined): string => JSON.stringify(item?.context);
    const first = key(waiting[0]);
    let count = 1;
    while (count < MAX_EVENTS && count < waiting.length && key(waiting[count]) === first) count++;
    while (count > 1 && isLarge(encode(waiting.slice(0, count)))) count >>= 1;
    return waiting.splice(0, count);
  };

  const clear = (): void => {
    waiting = [];
    flying &&= [];
  };

  const plan = (delayMs: number): void => {
    timer ||= setTimeout(send, Math.max(delayMs, notBeforeMs - Date.now()));
  };

  const send = (): void => {
    clearTimeout(timer);
    timer = undefined;
    if (flying || !waiting.length) return;
    const items = take();
    flying = items;
    for (const item of items) item.isTried = true;
    const body = encode(items);
    const sentMs = Date.now();
    note(Said.Sending, body);
    // A simple request, without preflight, with the collector's HttpOnly cookie.
    // In an async function, because a page's own fetch may throw.
    (async () => fetch(options.endpoint, { method: "POST", body, credentials: "include", keepalive: !isLarge(body) }))()
      .then(async (response) => {
        const { status } = response;
        const read = (name: string): string | null => response.headers.get(name);
        if (status === 429 || status >= 500) throw read("retry-after");
        failures = 0;
        if (status >= 400) return note(Said.Refused, [status, await response.text()]);
        const refused = read("x-tagstitch-rejected");
        if (refused) note(Said.PartlyRefused, refused);
        const { d, x } = status === 200 ? await response.json() : ({} as Record<string, string>);
        const date = Date.parse(read("date") || "");
        options.onReply(items, {
          visitor: d,
          pass: x,
          offset: date ? date - Math.round((sentMs + Date.now()) / 2) : undefined,
          silence: +(read("x-tagstitch-stop") as string),
        });
      })
      .catch((retryAfter) => {
        // Asked to wait; or no answer, or one that is none of our collector's: whether it arrived is not known.
        waiting = (flying as Item[]).concat(waiting); // nothing, if they were dropped meanwhile
        failures++;
        // In seconds; our collector writes no dates.
        notBeforeMs = Date.now() + (retryAfter * 1000 || 0);
        note(Said.WillRetry, [failures, retryAfter]);
        if (failures < MAX_FAILURES) plan(Math.min(1000 * 2 ** failures, MAX_PAUSE_MS) * (0.5 + Math.random() / 2));
      })
      .then(() => {
        flying = undefined;
        if (waiting.length && !failures) plan(0);
      });
  };

  const leave = (): void => {
    isLeft = true;
    // Offline, sendBeacon says true and the data is gone; and where the collector was away it may be so still. What is
    // in flight is kept too: should it arrive all the same, the collector knows an event by its id.
    const isOffline = !navigator.onLine;
    if ((isOffline || failures) && options.save((flying || []).concat(waiting))) return clear();
    if (isOffline) return;
    while (waiting.length) {
      const items = take();
      while (!navigator.sendBeacon?.(options.endpoint, encode(items))) {
        const rest = items.splice(items.length >> 1);
        waiting = rest.concat(waiting);
        // The browser takes no more now: it counts 64 KiB over all that is under way. A page that is only hidden goes
        // on by fetch; from one that is closed this much was too much.
        if (!items.length) return failures ? plan(0) : send();
      }
      note(Said.SentOnLeaving, items.length);
    }
  };

  return {
    add(item) {
      waiting = waiting.concat(item).slice(-MAX_WAITING);
      if (isLeft) leave();
      else if (!failures) waiting.length >= MAX_EVENTS ? send() : plan(WINDOW_MS);
    },
    leave,
    resume() {
      isLeft = false;
      waiting = options.restore().concat(waiting);
      if (!waiting.length) return;
      failures = Math.min(failures, 1);
      clearTimeout(timer);
      timer = undefined;
      plan(WINDOW_MS);
    },
    rename(from, to) {
      for (const item of waiting) {
        if (!item.isTried && item.context.d === from) item.context = { ...item.context, d: to };
      }
    },
    clear,
    drop(isOut) {
      waiting = waiting.filter((item) => !isOut(item));
    },
  };
}
