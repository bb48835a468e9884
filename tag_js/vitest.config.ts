import { defineConfig } from "vitest/config";

// These replace modules or much of the browser by fakes, so each needs a world of its own; the others share one, which is
// several times as fast.
const WHOLE = [
  "tests/tag.test.ts",
  "tests/tag_profile.test.ts",
  "tests/golden.test.ts",
  "tests/package.test.ts",
  "tests/fingerprint/*.test.ts",
];

export default defineConfig({
  define: {
    __INDEX__: '"index+/"',
    __MODULES__: "{}",
  },
  test: {
    environment: "happy-dom",
    environmentOptions: { happyDOM: { url: "https://shop.example/" } },
    setupFiles: "tests/setup.ts",
    restoreMocks: true,
    unstubGlobals: true,
    projects: [
      { extends: true, test: { name: "parts", include: ["tests/**/*.test.ts"], exclude: WHOLE, isolate: false } },
      { extends: true, test: { name: "whole", include: WHOLE } },
    ],
  },
});
