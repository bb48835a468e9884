import { afterEach, describe, expect, test } from "vitest";
import { createConsent, type Preset, type Purpose } from "../src/consent";

const ALL: Purpose[] = ["s", "i", "f", "m"];
const allowed = (consent: ReturnType<typeof createConsent>): string => ALL.filter(consent.allows).join("");

function setPrivacyControl(value: boolean | undefined): void {
  Object.defineProperty(navigator, "globalPrivacyControl", { value, configurable: true });
}

afterEach(() => setPrivacyControl(undefined));

test.each([
  ["required", "", true],
  ["implied", "sim", false],
  ["off", "sifm", false],
  ["Required!", "", true],
])("preset %s before an answer allows '%s'", (preset, expected, isPending) => {
  const consent = createConsent(preset as Preset);
  expect(allowed(consent)).toBe(expected);
  expect(consent.isPending()).toBe(isPending);
  expect(consent.letters()).toBeUndefined();
});

describe.each([
  ["required", "s", "si", ""],
  ["cookieless", "s", "si", ""],
  ["implied", "sim", "sim", "sim"],
  ["off", "sifm", "sim", "sifm"],
] as const)("under %s", (preset, storage, partly, nothing) => {
  test.each([
    ["all", "sifm"],
    ["none", ""],
    [{ storage: true }, storage],
    [{ storage: true, identity: true, fingerprint: false }, partly],
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
  consent.answer({ storage: true, fingerprint: true });
  consent.answer({ identity: true, fingerprint: false });
  expect(consent.letters()).toBe("si");
});

test("the preset that is settled later counts while nothing was said", () => {
  const consent = createConsent("required");
  consent.settle("implied");
  expect([allowed(consent), consent.isPending()]).toEqual(["sim", false]);
  consent.answer("none");
  consent.settle("off");
  expect(allowed(consent)).toBe("");
});

test("words of tag managers are read as they are meant", () => {
  const consent = createConsent("required");
  consent.answer({ storage: "granted", identity: "denied", fingerprint: "false", marketing: 0 } as never);
  expect(consent.letters()).toBe("s");
});

test("Do Not Track counts like Global Privacy Control", () => {
  Object.defineProperty(navigator, "doNotTrack", { value: "1", configurable: true });
  expect(allowed(createConsent("off"))).toBe("si");
  Object.defineProperty(navigator, "doNotTrack", { value: null, configurable: true });
});

test("Global Privacy Control removes fingerprint and marketing, whatever was said", () => {
  setPrivacyControl(true);
  const consent = createConsent("off");
  expect(allowed(consent)).toBe("si");
  consent.answer("all");
  expect(consent.letters()).toBe("si");
  expect(allowed(consent)).toBe("si");
});
