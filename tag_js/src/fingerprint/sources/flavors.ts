// Flavours: names that browsers built on another's engine leave in the page, such as Opera, Yandex, Samsung, UC or
// Firefox on iOS. Little information, stable; a page's own scripts may set the same names. Nobody blurs it.

import type { Source } from "../source";

const NAMES = "chrome safari opr yandex samsungAr ucweb __firefox__ __gCrWeb";

export const flavors: Source = { name: "flavors", read: () => NAMES.split(" ").filter((name) => name in window) };
