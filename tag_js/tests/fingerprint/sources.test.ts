// @vitest-environment node

// Each signal by its name: on a plausible device, in a browser that lacks its machinery, and in one that forbids it.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Reading } from "../../src/fingerprint/collect";
import type { Finding } from "../../src/fingerprint/source";
import { fakeAudio, fakeContext, formatDates, onBareBrowser, onLaptop, onLockedBrowser, webgl } from "./device";

const DIGEST = /^[0-9a-f]{16}$/;
const MISSING = { error: "missing" };
const FORBIDDEN = { error: "SecurityError" };

interface Expected {
  laptop: unknown;
  bare?: Finding;
  locked?: Finding;
}

const EXPECTED: Record<string, Expected> = {
  architecture: { laptop: expect.toBeOneOf([127, 255]), bare: expect.toBeOneOf([127, 255]) },
  audio: { laptop: 125 },
  canvas_emoji: { laptop: expect.stringMatching(DIGEST) },
  canvas_geometry: { laptop: expect.stringMatching(DIGEST) },
  canvas_text: { laptop: expect.stringMatching(DIGEST) },
  codecs: { laptop: "ppp--pp--" },
  color_depth: { laptop: 24 },
  color_gamut: { laptop: "p3" },
  contrast: { laptop: "no-preference" },
  cookies: { laptop: 1 },
  device_memory: { laptop: 16 },
  engine: { laptop: expect.stringMatching(/^\d+ .*null/), bare: expect.stringMatching(/^\d+ .*null/) },
  flavors: { laptop: ["chrome"], bare: [] },
  font_preferences: { laptop: ["45530", "42551", "37568", "40125", "41100", "43050", "46000"] },
  fonts: { laptop: ["Calibri", "Consolas", "Segoe UI"] },
  forced_colors: { laptop: "none" },
  hardware_concurrency: { laptop: 8 },
  hdr: { laptop: "standard" },
  heap_limit: { laptop: 4_395_630_592 },
  inverted_colors: { laptop: "none" },
  keyboard: { laptop: expect.stringMatching(DIGEST) },
  languages: { laptop: ["de-DE", "en"] },
  locale: { laptop: "de" },
  math: { laptop: expect.stringMatching(DIGEST), bare: expect.stringMatching(DIGEST) },
  monochrome: { laptop: "0" },
  pdf_viewer: { laptop: 1 },
  pixel_ratio: { laptop: 1.25 },
  platform: { laptop: "Win32" },
  plugins: { laptop: ["PDF Viewer", "Chrome PDF Viewer"] },
  pointers: { laptop: ["fine", "hover"], bare: [] },
  reduced_motion: { laptop: "reduce" },
  reduced_transparency: { laptop: "no-preference" },
  screen: { laptop: "1920x1080" },
  screen_frame: { laptop: "0,0,48,0" },
  storage: { laptop: ["localStorage", "sessionStorage", "indexedDB", "caches"], bare: [], locked: [] },
  system_font: { laptop: ["caption", "small-caption", "menu"] },
  time_zone: { laptop: "Europe/Berlin" },
  touch_points: { laptop: 0 },
  ua_device: { laptop: ["Windows", "x86", "64", "", "Desktop"] },
  ua_version: { laptop: ["Windows 19.0.0", "Chromium 156.0.8078.79", "Google Chrome 156.0.8078.79"] },
  vendor: { laptop: "Google Inc." },
  webgl_extensions: { laptop: expect.stringMatching(DIGEST) },
  webgl_parameters: { laptop: expect.stringMatching(/^16;16;16;32767,32767;16(;16){9}$/) },
  webgl_precision: { laptop: "127,127,36;127,127,37;127,127,38;127,127,39;127,127,40;127,127,41" },
  webgl_renderer: { laptop: "ANGLE (Intel, UHD Graphics 620)" },
  webgl_vendor: { laptop: "Google Inc. (Intel)" },
};
const NAMES = Object.keys(EXPECTED);

let collect: (names?: string[]) => Promise<Reading["s"]>;

beforeEach(async () => {
  vi.resetModules(); // what signals share is kept while the module runs: each test has a run of its own
  const { SOURCES } = await import("../../src/fingerprint/registry");
  const { collectSignals } = await import("../../src/fingerprint/collect");
  collect = async (names = NAMES) => (await collectSignals(SOURCES.filter(({ name }) => names.includes(name)))).s;
});

afterEach(() => Reflect.deleteProperty(globalThis, "devicePixelRatio"));

/** The one signal, read alone. */
async function read(name: string): Promise<unknown> {
  return (await collect([name]))[name];
}

test("every signal of the registry is tested here, each once", async () => {
  const { SOURCES } = await import("../../src/fingerprint/registry");
  expect(SOURCES.map(({ name }) => name).sort()).toEqual(NAMES);
  expect(NAMES.length).toBeGreaterThanOrEqual(30);
});

test.each(NAMES)("%s: the value of a plausible device", async (name) => {
  onLaptop();
  expect(await read(name)).toEqual(EXPECTED[name]?.laptop);
});

test.each(NAMES)("%s: where the browser has none, that is said", async (name) => {
  onBareBrowser();
  expect(await read(name)).toEqual(EXPECTED[name]?.bare ?? MISSING);
});

test.each(NAMES)("%s: where the browser forbids it, the exception's name is the reason", async (name) => {
  onLockedBrowser();
  expect(await read(name)).toEqual(EXPECTED[name]?.locked ?? FORBIDDEN);
});

test("all of them in one run, on each of the three", async () => {
  for (const on of [onLaptop, onBareBrowser, onLockedBrowser]) {
    on();
    expect(Object.keys(await collect()).sort()).toEqual(NAMES);
  }
});

/** Canvases whose pixels come back changed. */
function onNoisyCanvas(noise: () => number): void {
  const createElement = () => ({
    width: 0,
    height: 0,
    getContext() {
      return fakeContext(this.width, this.height, noise);
    },
  });
  onLaptop({ document: { createElement } });
}

test.each(["canvas_text", "canvas_geometry", "canvas_emoji"])(
  "%s: noise is said, not sent, also where it is the same each time",
  async (name) => {
    let bytes = 0;
    onNoisyCanvas(() => (++bytes === 500 ? 1 : 0)); // one bit of one of 256 pixels
    expect(await read(name)).toEqual({ error: "noise" });
  },
);

test("pictures differ from each other, and a device's picture is always the same", async () => {
  onLaptop();
  const { canvas_text, canvas_geometry, canvas_emoji } = await collect();
  expect(new Set([canvas_text, canvas_geometry, canvas_emoji]).size).toBe(3);
  expect((await collect()).canvas_text).toBe(canvas_text);
});

test("audio: noise is said, not sent", async () => {
  onLaptop({
    OfflineAudioContext: fakeAudio((samples) => samples.set(samples.map((one) => one * 0.9993))),
  });
  expect(await read("audio")).toEqual({ error: "noise" });
});

test.each([
  [1920, 1080],
  [1080, 1920],
])("screen: turning the device (%i x %i) changes nothing", async (width, height) => {
  onLaptop({ screen: { width, height } });
  expect(await read("screen")).toBe("1920x1080");
});

test("screen_frame: bars at all four sides", async () => {
  onLaptop({
    screen: { width: 1920, height: 1080, availWidth: 1800, availHeight: 1000, availLeft: 70, availTop: 30 },
  });
  expect(await read("screen_frame")).toBe("30,50,50,70");
});

test("time_zone: without Temporal it comes from Intl", async () => {
  onLaptop({ Temporal: undefined, Intl: { DateTimeFormat: formatDates("Asia/Tokyo") } });
  expect(await read("time_zone")).toBe("Asia/Tokyo");
});

test("webgl: without the debug extension the plain names, without WebGL one refusal for all", async () => {
  const asked = vi.fn(() => null as unknown);
  const document = { createElement: () => ({ getContext: asked }) };
  onLaptop({ document });
  const names = NAMES.filter((name) => name.startsWith("webgl"));
  expect(Object.values(await collect(names))).toEqual(names.map(() => MISSING));
  expect(asked).toHaveBeenCalledTimes(1);
});

test("webgl_renderer: Firefox gives the name without the extension", async () => {
  const getContext = () => ({ ...webgl, getExtension: () => null });
  onLaptop({ document: { createElement: () => ({ getContext }) } });
  expect(await read("webgl_renderer")).toBe("WebKit WebGL");
});

test("ua hints are asked for once, for both signals, and a refusal is the reason of both", async () => {
  const getHighEntropyValues = vi.fn(() => Promise.reject(new DOMException("no", "NotAllowedError")));
  onLaptop({ navigator: { userAgentData: { getHighEntropyValues } } });
  const reason = { error: "NotAllowedError" };
  expect(await collect(["ua_device", "ua_version"])).toEqual({ ua_device: reason, ua_version: reason });
  expect(getHighEntropyValues).toHaveBeenCalledTimes(1);
});

test("codecs: one letter for each type, so that what changes is seen", async () => {
  const canPlayType = (type: string) => (type.includes("vp9") ? "maybe" : "");
  onLaptop({ document: { createElement: () => ({ canPlayType }) } });
  expect(await read("codecs")).toMatch(/^-+m-+$/);
});

test("system_font: a canvas that does not know the names keeps its own font, and that says nothing", async () => {
  const context = Object.defineProperty({}, "font", { get: () => "10px sans-serif", set() {} });
  onLaptop({ document: { createElement: () => ({ getContext: () => context }) } });
  expect(await read("system_font")).toEqual(MISSING);
});
