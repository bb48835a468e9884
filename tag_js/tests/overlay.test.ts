import { expect, test, vi } from "vitest";
import type { Feed, Note } from "../src/modules";
import { Said } from "../src/notes";
import { explain } from "../src/overlay/explain";
import { createLedger } from "../src/overlay/ledger";
import { makeRow, spellOut, summarise } from "../src/overlay/row";
import { describe as put } from "../src/overlay/words";

const event = (n: string, i = n) => ({ i, n, t: 1, q: 1 });
const note = (said: Said, detail?: unknown): Note => ({ atMs: Date.UTC(2026, 10, 20), said, detail });
const beacon = (...names: string[]): string => JSON.stringify({ v: 1, s: "shop", e: names.map((n) => event(n)) });

function count(...notes: [Said, unknown?][]) {
  const ledger = createLedger();
  for (const [said, detail] of notes) ledger.take(note(said, detail));
  return ledger.read();
}

test("whatever the tag may say has words, and a kind to be found under", () => {
  const all = Object.values(Said).filter((said) => typeof said === "number") as Said[];
  expect(all.length).toBeGreaterThan(15);
  const words = all.map((said) => put(said));
  for (const [kind, text] of words) {
    expect(["sent", "held", "refused", "note"]).toContain(kind);
    expect(text).not.toBe("");
  }
  expect(new Set(words.map(([, text]) => text)).size).toBe(all.length);
  expect(put(999 as Said)).toEqual(["note", "999"]);
});

test("an event is held until it is sent, and counted once", () => {
  expect(count([Said.Held, event("a")], [Said.Held, event("b")]).counts).toEqual({ sent: 0, held: 2, refused: 0 });
  const sent = count([Said.Held, event("a")], [Said.Queued, event("b")], [Said.Sending, beacon("a", "b")]);
  expect(sent.counts).toEqual({ sent: 2, held: 0, refused: 0 });
  expect(sent.site).toBe("shop");
});

test("what comes back without an answer is held, and sent once when it goes again", () => {
  const away = count([Said.Queued, event("a")], [Said.Sending, beacon("a")], [Said.WillRetry, [1, null]]);
  expect(away.counts).toEqual({ sent: 0, held: 1, refused: 0 });
  const back = count([Said.Sending, beacon("a")], [Said.WillRetry, [1, null]], [Said.Sending, beacon("a")]);
  expect(back.counts).toEqual({ sent: 1, held: 0, refused: 0 });
});

test("refused are whole beacons, single events of one, and what was never queued", () => {
  const whole = count([Said.Sending, beacon("a", "b")], [Said.Refused, [400, "too_big"]]);
  expect(whole.counts).toEqual({ sent: 0, held: 0, refused: 2 });
  const partly = count([Said.Sending, beacon("a", "b", "c")], [Said.PartlyRefused, "signature,expired"]);
  expect(partly.counts).toEqual({ sent: 1, held: 0, refused: 2 });
  const dropped = count([Said.DroppedNoConsent, "a"], [Said.DroppedByHook, "b"]);
  expect(dropped.counts).toEqual({ sent: 0, held: 0, refused: 2 });
});

test("a refusal of consent throws away what was held", () => {
  const { counts, letters } = count([Said.Held, event("a")], [Said.Consent, ""]);
  expect(counts).toEqual({ sent: 0, held: 0, refused: 1 });
  expect(letters).toBe("");
  expect(count([Said.Held, event("a")], [Said.Consent, "ai"]).counts.held).toBe(1);
  expect(count().letters).toBeUndefined();
});

test("what leaves with the page is sent", () => {
  const { counts } = count([Said.Queued, event("a")], [Said.Queued, event("b")], [Said.SentOnLeaving, 2]);
  expect(counts).toEqual({ sent: 2, held: 0, refused: 0 });
});

test("a line says what was done, and to which events", () => {
  expect(summarise(note(Said.Sending, beacon("page_view", "purchase")))).toBe("page_view, purchase");
  expect(summarise(note(Said.Held, event("page_view")))).toBe("page_view: held until consent");
  expect(summarise(note(Said.Consent, "ai"))).toBe("consent: analytics, identity");
  expect(summarise(note(Said.Consent, ""))).toBe("consent: nothing granted");
  expect(summarise(note(Said.Failed, new TypeError("no circles")))).toBe("failed: no circles");
  expect(summarise(note(Said.Refused, [400, "too_big"]))).toBe("refused by the collector: 400 too_big");
  expect(summarise(note(Said.NoValue))).toBe("ignored: no value");
});

test("a detail is spread out for reading, whatever it is", () => {
  expect(spellOut('{"v":1}')).toBe('{\n  "v": 1\n}');
  expect(spellOut(event("a"))).toContain('"n": "a"');
  expect(spellOut("signature")).toBe("signature");
  expect(spellOut("7")).toBe("7");
  expect(spellOut(undefined)).toBe("no more is known");
  expect(spellOut(new Error("gone"))).toContain("gone");
});

test("a row holds text, never markup", () => {
  const row = makeRow(note(Said.DroppedByHook, "<img src=x onerror=alert(1)>"));
  expect(row.querySelector("img")).toBeNull();
  expect(row.textContent).toContain("<img src=x");
  expect(row.className).toBe("refused");
});

test("the console gets every note, those from before the module came first", () => {
  const log = vi.spyOn(console, "log").mockImplementation(() => {});
  const feed: Feed = { notes: [note(Said.Held, event("a"))], debug: true };
  explain(feed);
  feed.onNote?.(note(Said.Consent, "a"));
  expect(log.mock.calls).toEqual([
    ["tagstitch: held until consent", event("a")],
    ["tagstitch: consent", "a"],
  ]);
  expect(document.querySelector("tagstitch-debug")).toBeNull();
});

test("one note that cannot be shown does not stop the others, nor reach the page", () => {
  const log = vi.spyOn(console, "log").mockImplementation((_, detail) => {
    if (detail === "bad") throw new Error("the page has replaced its console");
  });
  const feed: Feed = { notes: [note(Said.NoCommand, "bad"), note(Said.NoCommand, "good")], debug: true };
  explain(feed);
  expect(() => feed.onNote?.(note(Said.NoCommand, "bad"))).not.toThrow();
  expect(log).toHaveBeenCalledTimes(3);
});
