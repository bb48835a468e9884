// Languages: the person's preferred languages, in order. Fair information, stable; Chromium and Safari shorten the list
// in private windows.

import { orMissing, type Source } from "../source";

export const languages: Source = {
  name: "languages",
  read: () => orMissing(navigator.languages?.length ? [...navigator.languages] : undefined),
};
