import { defineConfig } from "vitest/config";

// These two replace modules by fakes, so each needs modules of its own; the others share them, which is several times
// as fast.
const WHOLE = ["tests/tag.test.ts", "tests/golden.test.ts"];

export default defineConfig({
  define: {
    __VERSION__: '"0.0.0"',
    __MODULES__: '{"f":"Ab+Cd/EfGhIj=","v":"Ab+Cd/EfGhIj=","m":"Ab+Cd/EfGhIj=","o":"Ab+Cd/EfGhIj="}',
  },
  test: {
    environment: "happy-dom",
    environmentOptions: { happyDOM: { url: "https://shop.example/" } },
    restoreMocks: true,
    unstubGlobals: true,
    projects: [
      { extends: true, test: { name: "parts", include: ["tests/**/*.test.ts"], exclude: WHOLE, isolate: false } },
      { extends: true, test: { name: "whole", include: WHOLE } },
    ],
  },
});
