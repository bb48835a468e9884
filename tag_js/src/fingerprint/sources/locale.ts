// Locale: the language that the browser itself speaks, which is not always one of those it asks pages for. Fair
// information; changes with a setting. Asked of the plural rules, because these cost a hundredth of what dates cost.

import type { Source } from "../source";

export const locale: Source = {
  name: "locale",
  read: () => new Intl.PluralRules().resolvedOptions().locale,
};
