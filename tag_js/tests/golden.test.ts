// The golden beacons of wire version 1: what this tag sends, as files that the collector's tests read. `npm run golden`
// writes them; otherwise a beacon that differs from its file fails. A released file is never changed: a new meaning
// gets a new wire version and a new file.

import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { loadModule } from "../src/modules";
import { takeOver } from "../src/queue";
import type { Settings } from "../src/settings";
import { createTag } from "../src/tag";
import type { Signals } from "../src/wire";
import {
  type FakeCollector,
  fakeCollector,
  HANDOVER,
  makeSettings,
  setVisibility,
  standStill,
  stopListening,
  TOKEN,
  visit,
  watchListeners,
} from "./fakes";

vi.mock("../src/modules", () => ({ loadModule: vi.fn() }));
vi.mock("../src/browser", () => ({
  learnTimeZone: () => {},
  whenIdle: (run: () => void) => setTimeout(run),
  readBrowser: () => ({ l: "de-DE", z: "Europe/Berlin", w: "1280x720" }),
}));

const FOLDER = path.join(import.meta.dirname, "../../tests/data/beacons");
const IS_WRITING = process.env.GOLDEN === "write";

let collector: FakeCollector;
type Run = (...call: unknown[]) => void;

beforeEach(() => {
  standStill();
  watchListeners();
  collector = fakeCollector();
  visit(
    "https://shop.example/offer?utm_source=newsletter&utm_medium=email&utm_campaign=spring",
    "https://mail.example/",
  );
  setVisibility("visible");
});
afterEach(() => {
  stopListening();
  vi.useRealTimers();
});

const start = (changes: Partial<Settings> = {}, token = ""): Run =>
  takeOver(
    [],
    createTag(makeSettings(changes), token ? { lt: token } : {}, () => {}),
    () => {},
  );
const pass = (ms = 1000): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

/** Hand the tag these signals, as the fingerprint module does once it has loaded. */
function readSignals(signals: Signals): void {
  const [, , use] = vi.mocked(loadModule).mock.lastCall as Parameters<typeof loadModule<"f">>;
  use(async () => signals);
}

/** A story: what a page does. The golden beacon is the last one that it sends. */
const STORIES: Record<string, () => Promise<void>> = {
  async page_view() {
    start();
    await pass();
  },
  async page_view_consented() {
    start({ consent: "required" })("consent", "all");
    await pass();
  },
  async events() {
    const run = start();
    run("track", "view_item", { item_id: "A-1", price: 12.5, tags: ["new", "red"], in_stock: true, note: null });
    run("track", "add_to_cart", { item_id: "A-1", quantity: 2 });
    run("track", "Größe gewählt", { größe: "42 ½", emoji: "😀" });
    await pass();
  },
  async several_pages() {
    const run = start();
    history.pushState(null, "", "/basket");
    document.title = "Basket";
    run("page");
    run("track", "checkout");
    await pass();
  },
  async identify_signed() {
    const run = start();
    await pass();
    run("identify", "4711", {
      signature: `1.1795255200.${"ab".repeat(32)}`,
      traits: { plan: "gold" },
    });
    await pass();
  },
  async identify_unsigned() {
    const run = start();
    await pass();
    run("identify", "kim@example.org", { kind: "email" });
    await pass();
  },
  async identify_token() {
    const run = start();
    await pass();
    run("identify", "", { token: "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiI0NzExIn0.c2lnbmF0dXJl" });
    await pass();
  },
  async alias() {
    const run = start({ page: false });
    run("identify", "4711", { signature: `1.1795255200.${"ab".repeat(32)}` });
    run("alias", "L-99", { kind: "customer", signature: `1.1795255200.${"cd".repeat(32)}` });
    await pass();
  },
  async group() {
    start({ page: false })("group", "acme", { kind: "company", traits: { seats: 40, plan: "team" } });
    await pass();
  },
  async captured() {
    (window as unknown as Record<string, unknown>).dataLayer = [{ customer: { id: 4711 } }];
    start({ capture: "customer=data:customer.id email=meta:none" });
    await pass();
    Reflect.deleteProperty(window, "dataLayer");
  },
  async cookieless() {
    start({ consent: "cookieless" })("track", "seen", { item_id: "A-1" });
    await pass();
  },
  async handover_asked() {
    start({ domains: "other.example" });
    await pass();
  },
  async handover_arrived() {
    takeOver(
      [],
      createTag(makeSettings(), { _tsh: HANDOVER }, () => {}),
      () => {},
    );
    await pass();
  },
  async returning() {
    localStorage.setItem(
      "_ts_vt",
      '{"f":{"utm_source":"fair","time":1795000000000},"l":{"referrer":"search.example","time":1795100000000}}',
    );
    start();
    await pass();
  },
  async noted_by_itself() {
    const run = start();
    run("track", "outbound_click", { url: "https://other.example/a", host: "other.example" });
    run("track", "file_download", { url: "https://shop.example/manual.pdf", extension: "pdf" });
    run("track", "form", { form: "checkout", outcome: "invalid", fields: ["email", "street"], last_field: "street" });
    run("track", "engagement", { scroll_percent: 64, engaged_s: 12.3 });
    run("track", "media", { action: "progress", percent: 50, seconds: 61.2, duration_s: 120, kind: "video" });
    run("track", "web_vitals", { lcp_ms: 1203, inp_ms: 48, cls: 0.02, fcp_ms: 611, ttfb_ms: 120 });
    await pass();
  },
  async reset() {
    const run = start();
    await pass();
    run("reset");
    await pass();
  },
  async link_landing() {
    start({}, TOKEN);
    await pass();
  },
  async link_confirm() {
    start({}, TOKEN);
    await pass();
    const event = new Event("pointerdown");
    Object.defineProperty(event, "isTrusted", { value: true });
    dispatchEvent(event);
    await pass();
  },
  async fingerprint_2() {
    start({ consent: "required" })("consent", "all");
    await pass();
    readSignals({
      v: 2,
      s: {
        languages: ["de-DE", "de", "en"],
        screen: "1920x1080",
        platform: "Win32",
        math: "4f1d2c3b5a697887",
        canvas_text: "1111111111111111",
        canvas_emoji: { error: "noise" },
        webgl_vendor: "Google Inc. (Intel)",
        webgl_renderer: "ANGLE (Intel, Intel(R) UHD Graphics 620 (0x00005917) Direct3D11 vs_5_0 ps_5_0, D3D11)",
        webgl_precision: "127,127,23",
        audio: 124.04347527516074,
        fonts: ["Calibri", "Consolas", "Segoe UI"],
        architecture: 255,
        ua_device: ["Windows", "x86", "64", "", "Desktop"],
        vendor: "Google Inc.",
      },
    });
    await pass();
  },
  async fingerprint() {
    start({ consent: "required" })("consent", "all");
    await pass();
    readSignals({
      v: 1,
      s: {
        languages: ["de-DE", "de", "en"],
        screen: "1920x1080",
        color_depth: 24,
        hardware_concurrency: 8,
        device_memory: 8,
        touch_points: 0,
        platform: "Linux x86_64",
        math: "4f1d2c3b5a697887",
        time_zone: "Europe/Berlin",
        canvas: "0123456789abcdef",
        webgl_vendor: "Google Inc. (Intel)",
        webgl_renderer: "ANGLE (Intel, Mesa Intel(R) UHD Graphics 620 (KBL GT2), OpenGL 4.6)",
        audio: 35.749972093850374,
        fonts: ["DejaVu Sans", "Liberation Sans", "Ubuntu"],
      },
    });
    await pass();
  },
  async fingerprint_blocked() {
    start({ consent: "required" })("consent", "all");
    await pass();
    readSignals({
      v: 1,
      s: {
        languages: ["en-US", "en"],
        screen: "1400x900",
        color_depth: 24,
        hardware_concurrency: 2,
        device_memory: { error: "missing" },
        touch_points: 0,
        platform: "Win32",
        math: "4f1d2c3b5a697887",
        time_zone: "UTC",
        canvas: { error: "noise" },
        webgl_vendor: { error: "missing" },
        webgl_renderer: { error: "SecurityError" },
        audio: { error: "timeout" },
        fonts: [],
      },
    });
    await pass();
  },
  async wrong_clock() {
    collector.answers = [
      new Response(null, { status: 204, headers: { Date: new Date(Date.now() + 3_600_000).toUTCString() } }),
    ];
    const run = start();
    await pass();
    run("track", "later");
    await pass();
  },
  async full_batch() {
    const run = start({ page: false });
    for (let i = 1; i <= 20; i++) run("track", "step", { i });
    await pass();
  },
  async consent_withdrawn() {
    const run = start({ consent: "required" });
    run("consent", "all");
    await pass();
    run("consent", "none");
    await pass();
  },
  async left_at_once() {
    start();
    setVisibility("hidden");
  },
};

test.each(Object.entries(STORIES))("%s is the golden beacon", async (name, tell) => {
  await tell();
  const beacon = collector.beaconed.at(-1) ?? collector.posted.at(-1);
  const text = `${JSON.stringify(beacon, null, 2)}\n`;
  const file = path.join(FOLDER, `v1_${name}.json`);
  if (IS_WRITING) {
    mkdirSync(FOLDER, { recursive: true });
    writeFileSync(file, text);
  }
  expect(existsSync(file), "no file yet: npm run golden").toBe(true);
  expect(text).toBe(readFileSync(file, "utf8"));
});

test("every golden beacon of this wire version has its story", () => {
  const files = readdirSync(FOLDER).filter((file) => file.startsWith("v1_"));
  expect(files.sort()).toEqual(
    Object.keys(STORIES)
      .map((name) => `v1_${name}.json`)
      .sort(),
  );
});
