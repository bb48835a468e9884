import { defineConfig } from "vitest/config";

export default defineConfig({
  define: { __VERSION__: '"0.0.0"', __SIGNALS_HASH__: '"00000000"', __SIGNALS_INTEGRITY__: '"sha384-test"' },
  test: {
    environment: "happy-dom",
    environmentOptions: { happyDOM: { url: "https://shop.example/" } },
    include: ["tests/**/*.test.ts"],
    restoreMocks: true,
    unstubGlobals: true,
  },
});
