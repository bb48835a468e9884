// Device memory: gigabytes, rounded to a power of two. Stable; Chromium only, and only over HTTPS. Brave lies.

import type { Source } from "../source";

export const deviceMemory: Source = {
  name: "device_memory",
  blur: "b",
  read: () => (navigator as { deviceMemory?: number }).deviceMemory,
};
