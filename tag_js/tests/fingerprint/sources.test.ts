import { afterEach, expect, test, vi } from "vitest";
import { audio } from "../../src/fingerprint/sources/audio";
import { canvas } from "../../src/fingerprint/sources/canvas";
import { deviceMemory } from "../../src/fingerprint/sources/device_memory";
import { fonts } from "../../src/fingerprint/sources/fonts";
import { languages } from "../../src/fingerprint/sources/languages";
import { screenSize } from "../../src/fingerprint/sources/screen";

afterEach(() => vi.restoreAllMocks());

/** A canvas whose pictures and widths the test decides. */
function fakeCanvas(pictures: string[], measure: (font: string) => number = () => 1): void {
  const context = {
    font: "",
    fillRect() {},
    fillText() {},
    beginPath() {},
    arc() {},
    fill() {},
    measureText: () => ({ width: measure(context.font) }),
  };
  vi.spyOn(document, "createElement").mockReturnValue({
    getContext: () => context,
    toDataURL: () => pictures.shift(),
  } as unknown as HTMLCanvasElement);
}

test("canvas: the digest of the picture, where two drawings agree", () => {
  fakeCanvas(["data:1", "data:1"]);
  expect(canvas.read()).toMatch(/^[0-9a-f]{16}$/);
});

test("canvas: noise is said, not sent", () => {
  fakeCanvas(["data:1", "data:2"]);
  expect(canvas.read()).toEqual({ error: "noise" });
});

test("fonts: a font is there when it changes the width against one of the bases", async () => {
  fakeCanvas([], (font) => (font.includes("Ubuntu") || font.includes("Georgia") ? 7 : 1));
  expect(await fonts.read()).toEqual(["Georgia", "Ubuntu"]);
});

test("audio: missing where there is no audio context", async () => {
  vi.stubGlobal("OfflineAudioContext", undefined);
  expect(await audio.read()).toEqual({ error: "missing" });
});

test.each([
  [1920, 1080],
  [1080, 1920],
])("screen: turning the device (%i x %i) changes nothing", (width, height) => {
  vi.stubGlobal("screen", { width, height });
  expect(screenSize.read()).toBe("1920x1080");
});

test("a value that the browser does not have is missing", () => {
  vi.spyOn(navigator, "languages", "get").mockReturnValue([]);
  expect(languages.read()).toEqual({ error: "missing" });
  expect(deviceMemory.read()).toEqual({ error: "missing" });
});
