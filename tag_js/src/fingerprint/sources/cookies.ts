// Cookies: whether a page may set them, as the browser says. Little information; a setting.

import type { Source } from "../source";

export const cookies: Source = { name: "cookies", read: () => navigator.cookieEnabled };
