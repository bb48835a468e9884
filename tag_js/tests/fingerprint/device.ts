// Devices for the tests of the signals: one as people have them, one without any of the machinery, one that forbids
// everything. They replace the page's globals; vitest takes them back after each test.

import { vi } from "vitest";

const LAPTOP_FONTS = new Set(["Calibri", "Consolas", "Segoe UI"]);
const GENERIC_WIDTHS: Record<string, number> = {
  serif: 455.296875,
  "sans-serif": 425.5078125,
  monospace: 375.6796875,
  cursive: 401.25,
  fantasy: 411,
  "system-ui": 430.5,
  math: 460,
};

/** A drawing context that keeps its pixels: single pixels exactly, everything else as some change of all of them. */
export function fakeContext(width: number, height: number, noise: () => number = () => 0) {
  const data = new Uint8ClampedArray(width * height * 4);
  let strokes = 7;
  const stroke = (...numbers: unknown[]): void => {
    for (const one of [context.fillStyle, context.font, ...numbers])
      for (const letter of String(one)) strokes = (strokes * 31 + letter.charCodeAt(0)) % 9973;
    data.forEach((_, i) => {
      data[i] = strokes * (i + 1);
    });
  };
  const context = {
    font: "10px sans-serif",
    fillStyle: "" as unknown,
    fillRect(x: number, y: number, w: number, h: number) {
      const color = /^rgb\((\d+),(\d+),(\d+)\)$/.exec(String(context.fillStyle));
      if (w === 1 && h === 1 && color) data.set([...color.slice(1).map(Number), 255], (y * width + x) * 4);
      else stroke(x, y, w, h);
    },
    fillText: stroke,
    beginPath() {},
    moveTo: stroke,
    arc: stroke,
    bezierCurveTo: stroke,
    fill() {},
    stroke() {},
    createLinearGradient: () => ({ addColorStop() {} }),
    getImageData: () => ({ data: data.map((byte) => byte ^ noise()) }),
    measureText() {
      const [, named, base = ""] = /^\d+px (?:"(.+)",)?(.+)$/.exec(context.font) as unknown as string[];
      return { width: (GENERIC_WIDTHS[base] as number) + (named && LAPTOP_FONTS.has(named) ? 9 : 0) };
    },
  };
  return context;
}

const PARAMETERS: Record<number, unknown> = {
  37445: "Google Inc. (Intel)",
  37446: "ANGLE (Intel, UHD Graphics 620)",
  7936: "WebKit",
  7937: "WebKit WebGL",
  3386: new Int32Array([32767, 32767]),
};

export const webgl = {
  getExtension: (name: string) => (name === "WEBGL_debug_renderer_info" ? {} : null),
  getParameter: (name: number) => PARAMETERS[name] ?? 16,
  getSupportedExtensions: () => ["OES_texture_float", "EXT_blend_minmax"],
  getShaderPrecisionFormat: (_: number, format: number) => ({ rangeMin: 127, rangeMax: 127, precision: format % 100 }),
};

/** An offline audio context whose samples the test may change. */
export function fakeAudio(change: (samples: Float32Array) => void = () => {}) {
  return class {
    destination = {};
    async startRendering() {
      const samples = new Float32Array(5000).fill(1, 0, 132).fill(-0.25, 4500);
      change(samples);
      return { getChannelData: () => samples };
    }
  };
}

/** Any node of sound: its settings do not matter here. */
class FakeNode {
  connect(): void {}
  start(): void {}
  stop(): void {}
}

/** Stands for Intl.DateTimeFormat in that time zone. */
export const formatDates = (timeZone: string | undefined) => () => ({ resolvedOptions: () => ({ timeZone }) });

type Globals = Record<string, unknown>;

/** What the page sees: `window` has the same names as its globals. */
function install(globals: Globals): void {
  for (const [name, value] of Object.entries(globals)) vi.stubGlobal(name, value);
  if (!("window" in globals)) vi.stubGlobal("window", globals);
}

/** A laptop with Chromium on Windows, at rest, with nothing hidden. `changes` replace whole globals. */
export function onLaptop(changes: Globals = {}): void {
  const holding = new Set([
    "(color-gamut:p3)",
    "(color-gamut:srgb)",
    "(dynamic-range:standard)",
    "(monochrome:0)",
    "(prefers-contrast:no-preference)",
    "(forced-colors:none)",
    "(inverted-colors:none)",
    "(prefers-reduced-motion:reduce)",
    "(prefers-reduced-transparency:no-preference)",
    "(any-pointer:fine)",
    "(any-hover:hover)",
  ]);
  install({
    navigator: {
      languages: ["de-DE", "en"],
      platform: "Win32",
      vendor: "Google Inc.",
      hardwareConcurrency: 8,
      deviceMemory: 16,
      maxTouchPoints: 0,
      pdfViewerEnabled: true,
      plugins: [{ name: "PDF Viewer" }, { name: "Chrome PDF Viewer" }],
      cookieEnabled: true,
      keyboard: { getLayoutMap: async () => new Map([["KeyY", "z"]]) },
      userAgentData: {
        getHighEntropyValues: async () => ({
          platform: "Windows",
          platformVersion: "19.0.0",
          architecture: "x86",
          bitness: "64",
          model: "",
          formFactors: ["Desktop"],
          fullVersionList: [
            { brand: "Not:A-Brand", version: "8.0.0.0" },
            { brand: "Google Chrome", version: "156.0.8078.79" },
            { brand: "Chromium", version: "156.0.8078.79" },
          ],
        }),
      },
    },
    performance: { now: () => performance.timeOrigin % 7, memory: { jsHeapSizeLimit: 4_395_630_592 } },
    screen: {
      width: 1920,
      height: 1080,
      availWidth: 1920,
      availHeight: 1032,
      availLeft: 0,
      availTop: 0,
      colorDepth: 24,
    },
    devicePixelRatio: 1.25,
    matchMedia: (query: string) => ({ matches: holding.has(query) }),
    Temporal: { Now: { timeZoneId: () => "Europe/Berlin" } },
    Intl: {
      PluralRules: class {
        resolvedOptions = () => ({ locale: "de" });
      },
    },
    OfflineAudioContext: fakeAudio(),
    OscillatorNode: FakeNode,
    DynamicsCompressorNode: FakeNode,
    ConstantSourceNode: FakeNode,
    document: {
      createElement: (tag: string) =>
        tag === "video"
          ? { canPlayType: (type: string) => (type.includes("mp4") ? "probably" : "") }
          : {
              width: 0,
              height: 0,
              getContext(kind: string) {
                return kind === "2d" ? fakeContext(this.width, this.height) : webgl;
              },
            },
    },
    chrome: {},
    localStorage: {},
    sessionStorage: {},
    indexedDB: {},
    caches: {},
    ...changes,
  });
}

/** A browser in which nothing that can be absent is there. */
export function onBareBrowser(): void {
  install({
    navigator: {},
    performance: { now: () => 1 },
    screen: {},
    devicePixelRatio: undefined,
    matchMedia: () => ({ matches: false }),
    Temporal: undefined,
    Intl: {
      DateTimeFormat: formatDates(undefined),
      PluralRules: class {
        resolvedOptions = () => ({});
      },
    },
    OfflineAudioContext: undefined,
    document: { createElement: () => ({ getContext: () => null }) },
  });
}

/** A browser that forbids all of it: whatever is touched throws a SecurityError. */
export function onLockedBrowser(): void {
  const refuse = (): never => {
    throw new DOMException("not for you", "SecurityError");
  };
  const locked = new Proxy(class {}, { get: refuse, has: refuse, apply: refuse, construct: refuse });
  const names = ["navigator", "screen", "matchMedia", "Temporal", "Intl", "OfflineAudioContext", "document", "Math"];
  install({
    ...Object.fromEntries(names.map((name) => [name, locked])),
    Float32Array: locked,
    parseInt: { toString: refuse },
    performance: {
      now: () => 1,
      get memory() {
        return refuse();
      },
    },
    window: new Proxy({} as Globals, {
      has: refuse,
      get: (_, name) => (name === "scheduler" ? undefined : name === "Temporal" ? locked : refuse()),
    }),
  });
  Object.defineProperty(globalThis, "devicePixelRatio", { configurable: true, get: refuse });
}
