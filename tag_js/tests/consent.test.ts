import { afterEach, describe, expect, test } from "vitest";
import { createConsent, type Preset, type Purpose } from "../src/consent";

const ALL: Purpose[] = ["a", "i", "f", "p", "m"];
const allowed = (consent: ReturnType<typeof createConsent>): string => ALL.filter(consent.allows).join("");

function setPrivacyControl(value: boolean | undefined): void {
  Object.defineProperty(navigator, "globalPrivacyControl", { value, configurable: true });
}

afterEach(() => setPrivacyControl(undefined));

test.each([
  ["required", "", true],
  ["implied", "aipm", false],
  ["off", "aifpm", false],
  ["Required!", "", true],
])("preset %s before an answer allows '%s'", (preset, expected, isPending) => {
  const consent = createConsent(preset as Preset);
  expect(allowed(consent)).toBe(expected);
  expect(consent.isPending()).toBe(isPending);
  expect(consent.letters()).toBeUndefined();
});

describe.each([
  ["required", "a", "ai", ""],
  ["cookieless", "a", "ai", ""],
  ["implied", "aipm", "aipm", "aipm"],
  ["off", "aifpm", "aipm", "aifpm"],
] as const)("under %s", (preset, analytics, partly, nothing) => {
  test.each([
    ["all", "aifpm"],
    ["none", ""],
    [{ analytics: true }, analytics],
    [{ analytics: true, identity: true, fingerprint: false }, partly],
    [{}, nothing],
  ] as const)("the answer %j counts, and what it does not name stays as the preset has it", (answer, letters) => {
    const consent = createConsent(preset);
    consent.answer(answer);
    expect(consent.letters()).toBe(letters);
    expect(allowed(consent)).toBe(letters);
    expect(consent.isPending()).toBe(false);
  });
});

test("what an answer does not name stays as it was", () => {
  const consent = createConsent("required");
  consent.answer({ analytics: true, fingerprint: true });
  consent.answer({ identity: true, fingerprint: false });
  expect(consent.letters()).toBe("ai");
});

test("the preset that is settled later counts while nothing was said", () => {
  const consent = createConsent("required");
  consent.settle("implied");
  expect([allowed(consent), consent.isPending()]).toEqual(["aipm", false]);
  consent.answer("none");
  consent.settle("off");
  expect(allowed(consent)).toBe("");
});

test("words of tag managers are read as they are meant", () => {
  const consent = createConsent("required");
  consent.answer({ analytics: "granted", identity: "denied", fingerprint: "false", marketing: 0 } as never);
  expect(consent.letters()).toBe("a");
});

test("Do Not Track counts like Global Privacy Control", () => {
  Object.defineProperty(navigator, "doNotTrack", { value: "1", configurable: true });
  expect(allowed(createConsent("off"))).toBe("aip");
  Object.defineProperty(navigator, "doNotTrack", { value: null, configurable: true });
});

test("Global Privacy Control removes fingerprint and marketing, whatever was said", () => {
  setPrivacyControl(true);
  const consent = createConsent("off");
  expect(allowed(consent)).toBe("aip");
  consent.answer("all");
  expect(consent.letters()).toBe("aip");
  expect(allowed(consent)).toBe("aip");
});
