// Platform: the system's old name, such as Win32, MacIntel or Linux x86_64. Little information, very stable; a
// contradiction to the user agent says that one of them lies. Nobody blurs it; an iPad says MacIntel.

import type { Source } from "../source";

export const platform: Source = { name: "platform", read: () => navigator.platform };
