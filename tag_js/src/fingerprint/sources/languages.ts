// Languages: the person's preferred languages, in order. Fair information; changes with a setting. Chromium and Safari
// shorten the list in private windows, Brave everywhere; resistFingerprinting may say English.

import type { Source } from "../source";

export const languages: Source = {
  name: "languages",
  blur: "b",
  read: () => navigator.languages?.[0] && [...navigator.languages],
};
