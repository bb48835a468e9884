// Builds the tag as a package, beside the script build: index.mjs, index.d.ts and package.json, a folder that npm takes.
//
// Part of the build, see build.mjs.
//
// index.mjs is not minified, and syntax is as old as the script's: the site's own build does the rest. The types are
// src/api.ts as it stands. Lazy modules are those of the script build: their addresses and integrity are read from it.

import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
/** `define`: what the build writes into the code of the script, the digests of the lazy modules among it. */
export async function buildPackage(out, define) {
  const { version, description, license } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));
  const banner = `/*! tagstitch ${version} | ${license} */`;
  const result = await build({
    absWorkingDir: root,
    entryPoints: ["src/package.ts"],
    bundle: true,
    format: "esm",
    target: "es2021",
    charset: "utf8",
    legalComments: "none",
    define,
    banner: { js: banner },
    write: false,
  });
  writeFileSync(path.join(out, "index.mjs"), result.outputFiles[0].contents);
  const types = readFileSync(path.join(root, "src/api.ts"), "utf8").replace(/^ *\/\/ biome-ignore .*\n/gm, "");
  writeFileSync(path.join(out, "index.d.ts"), `${banner}\n${types}`);
  const about = {
    name: "tagstitch-tag",
    version,
    description,
    license,
    type: "module",
    sideEffects: false,
    exports: { ".": { types: "./index.d.ts", default: "./index.mjs" } },
    types: "./index.d.ts",
    files: ["index.mjs", "index.d.ts"],
  };
  writeFileSync(path.join(out, "package.json"), `${JSON.stringify(about, null, 2)}\n`);
}
