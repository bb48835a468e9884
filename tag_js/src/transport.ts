// The way out: events wait for a moment, travel in batches, one at a time, and come back to the queue when the network
// or the collector asks for patience. On hide everything leaves by sendBeacon, in the same task.
//
// Invariants: an item is in `waiting`, in flight, or gone; nothing is in two places. What was tried keeps its frozen
// context, because the collector may have it already and knows it by that. Bounded: the oldest go first.

import { buildEnvelope, encodeEnvelope, type Item } from "./envelope";
import type { BrowserFacts, Context } from "./wire";

const WINDOW_MS = 300;
const MAX_EVENTS = 20;
const MAX_BYTES = 60_000; // browsers allow 64 KiB in flight for keepalive and sendBeacon
const MAX_WAITING = 500;
const MAX_FAILURES = 8; // then only hide, `online` or a return to the page tries again
const MAX_PAUSE_MS = 60_000;

export interface Reply {
  /** Visitor id that the collector wants to be used, "" where ours stands. */
  visitor: string;
  /** The collector's clock minus ours, milliseconds; undefined where the browser does not let us see it. */
  offset: number | undefined;
}

export interface TransportOptions {
  site: string;
  endpoint: string;
  facts(): BrowserFacts;
  /** The collector has the events that were queued under this context. */
  onReply(context: Context, reply: Reply): void;
  note(text: string, detail?: unknown): void;
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
}

export function createTransport(options: TransportOptions): Transport {
  let waiting: Item[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined; // of the next send; a pause is kept by planning once only
  let notBeforeMs = 0; // the collector asked for patience until then
  let isBusy = false;
  let isLeft = false;
  let failures = 0;
  let generation = 0; // counts clears

  const encode = (items: Item[]): string => encodeEnvelope(buildEnvelope(options.site, items, options.facts()));
  const measure = (body: string): number => new Blob([body]).size;

  /** Take the next batch off the queue: one context, within the bounds. */
  const take = (): Item[] => {
    const key = (item: Item | undefined): string => JSON.stringify(item?.context);
    const first = key(waiting[0]);
    let count = 1;
    while (count < MAX_EVENTS && count < waiting.length && key(waiting[count]) === first) count++;
    while (count > 1 && measure(encode(waiting.slice(0, count))) > MAX_BYTES) count >>= 1;
    return waiting.splice(0, count);
  };

  const plan = (delayMs: number): void => {
    if (timer === undefined) timer = setTimeout(send, Math.max(delayMs, notBeforeMs - Date.now()));
  };

  const fail = (items: Item[], retryAfter?: string | null): void => {
    waiting = items.concat(waiting);
    failures++;
    if (failures >= MAX_FAILURES) return options.note("gave up for now", waiting.length);
    notBeforeMs = Date.now() + (Number(retryAfter) * 1000 || 0);
    options.note("will try again", { failures, retryAfter });
    plan(Math.min(1000 * 2 ** failures, MAX_PAUSE_MS) * (0.5 + Math.random() / 2));
  };

  const send = (): void => {
    clearTimeout(timer);
    timer = undefined;
    if (isBusy || !waiting.length) return;
    isBusy = true;
    const items = take();
    for (const item of items) item.isTried = true;
    const body = encode(items);
    const sentMs = Date.now();
    const sentIn = generation;
    const giveBack = (retryAfter?: string | null): void => {
      isBusy = false;
      fail(generation === sentIn ? items : [], retryAfter);
    };
    options.note("sending", body);
    post(options.endpoint, body)
      .then(async (response) => {
        if (response.status === 429 || response.status >= 500) {
          return giveBack(response.headers.get("retry-after"));
        }
        failures = 0;
        if (response.status >= 400) {
          options.note("refused", { status: response.status, reason: await response.text() });
        } else {
          const refused = response.headers.get("x-tagstitch-rejected");
          if (refused) options.note("partly refused", refused);
          const text = response.status === 200 ? await response.text() : "";
          const date = Date.parse(response.headers.get("date") || "");
          options.onReply(items[0]?.context as Context, {
            visitor: text ? JSON.parse(text).d : "",
            offset: date ? date - Math.round((sentMs + Date.now()) / 2) : undefined,
          });
        }
        isBusy = false;
        if (waiting.length) plan(0);
      })
      .catch(() => {
        // No answer (or an answer that is none of our collector's): whether it arrived is not known.
        if (isBusy) giveBack();
      });
  };

  const leave = (): void => {
    isLeft = true;
    // Offline, sendBeacon says true and the data is gone.
    if (navigator.onLine === false) return;
    while (waiting.length) {
      const items = take();
      while (!navigator.sendBeacon?.(options.endpoint, encode(items))) {
        const rest = items.splice(items.length >> 1);
        waiting = rest.concat(waiting);
        // The browser takes no more now: it counts 64 KiB over all that is under way. A page that is only hidden goes
        // on by fetch; from one that is closed this much was too much.
        if (!items.length) return failures ? plan(0) : send();
      }
      options.note("sent on leaving", items.length);
    }
  };

  return {
    add(item) {
      waiting.push(item);
      if (waiting.length > MAX_WAITING) waiting.shift();
      if (isLeft) leave();
      else if (!failures) waiting.length >= MAX_EVENTS ? send() : plan(WINDOW_MS);
    },
    leave,
    resume() {
      isLeft = false;
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
    clear() {
      waiting = [];
      generation++;
    },
  };
}

/** POST as text/plain: a simple request, without preflight, with the collector's HttpOnly cookie. */
function post(endpoint: string, body: string): Promise<Response> {
  return fetch(endpoint, {
    method: "POST",
    body,
    credentials: "include",
    keepalive: new Blob([body]).size <= MAX_BYTES,
  });
}
