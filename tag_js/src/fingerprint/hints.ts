// User agent client hints of high entropy: one question, asked once, answered for two signals. Chromium only, and only
// over HTTPS. This module as a whole runs only with consent to the fingerprint; the hints are asked for nowhere else.

export interface Hints {
  platform?: string;
  platformVersion?: string;
  architecture?: string;
  bitness?: string;
  model?: string;
  formFactors?: string[];
  fullVersionList?: { brand: string; version: string }[];
}

type HintedNavigator = { userAgentData?: { getHighEntropyValues(names: string[]): Promise<Hints> } };

let asked: Promise<Hints> | undefined;

/** The answer, or undefined where the browser has no hints. Rejects where it refuses. */
export async function readHints(): Promise<Hints | undefined> {
  asked ??= (navigator as HintedNavigator).userAgentData?.getHighEntropyValues([
    "platformVersion",
    "architecture",
    "bitness",
    "model",
    "formFactors",
    "fullVersionList",
  ]);
  return asked;
}
