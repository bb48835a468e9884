// Vendor: who made the browser, by its own word. Says little more than the engine, very stable; Firefox says nothing.

import type { Source } from "../source";

export const vendor: Source = { name: "vendor", read: () => navigator.vendor };
