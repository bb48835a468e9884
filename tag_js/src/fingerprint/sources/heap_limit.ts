// Heap limit: bytes that the browser would give a page's scripts, which follows from the device's memory and the width
// of its addresses. Fair information; changes with a major version. Chromium only, nobody blurs it.

import type { Source } from "../source";

type Measured = { memory?: { jsHeapSizeLimit: number } };

export const heapLimit: Source = {
  name: "heap_limit",
  read: () => (performance as Measured).memory?.jsHeapSizeLimit,
};
