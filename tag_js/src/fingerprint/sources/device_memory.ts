// Device memory: gigabytes, rounded to a power of two. Stable; Chromium only, and only over HTTPS.

import { orMissing, type Source } from "../source";

export const deviceMemory: Source = {
  name: "device_memory",
  read: () => orMissing((navigator as { deviceMemory?: number }).deviceMemory),
};
