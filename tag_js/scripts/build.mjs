// Builds the tag and its fingerprint module.
//
//   node scripts/build.mjs [--out FOLDER]     default: ../collector/static/tag
//
// Writes t.js, f.js, a brotli and a gzip form of each, and build.json: version, digests and integrity of both. The same
// source gives the same bytes on every machine with the same lock file: no time, no path and no name of a machine
// enters a file. The module is built first, because the tag carries its address and its integrity.

import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { build } from "esbuild";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const place = process.argv.indexOf("--out");
const out = path.resolve(place > 0 ? process.argv[place + 1] : path.join(root, "../collector/static/tag"));
const { version } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));

async function bundle(entry, define) {
  const result = await build({
    absWorkingDir: root,
    entryPoints: [entry],
    bundle: true,
    minify: true,
    format: "iife",
    target: "es2018",
    charset: "utf8",
    legalComments: "none",
    define,
    banner: { js: `/*! tagstitch ${version} | Apache-2.0 */` },
    write: false,
  });
  return Buffer.from(result.outputFiles[0].contents);
}

function describe(name, bytes) {
  return {
    name,
    hash: createHash("sha256").update(bytes).digest("hex").slice(0, 8),
    integrity: `sha384-${createHash("sha384").update(bytes).digest("base64")}`,
    bytes: bytes.length,
  };
}

function write(name, bytes) {
  writeFileSync(path.join(out, name), bytes);
  const brotli = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
  writeFileSync(path.join(out, `${name}.br`), brotliCompressSync(bytes, { params: brotli }));
  const gzip = gzipSync(bytes, { level: 9 });
  gzip[9] = 255; // the operating system, which would make the file differ from machine to machine
  writeFileSync(path.join(out, `${name}.gz`), gzip);
}

mkdirSync(out, { recursive: true });
const signals = await bundle("src/fingerprint/entry.ts", {});
const signalsFile = describe("f.js", signals);
const core = await bundle("src/entry.ts", {
  __VERSION__: JSON.stringify(version),
  __SIGNALS_HASH__: JSON.stringify(signalsFile.hash),
  __SIGNALS_INTEGRITY__: JSON.stringify(signalsFile.integrity),
});
write("f.js", signals);
write("t.js", core);
const manifest = { version, files: [describe("t.js", core), signalsFile] };
writeFileSync(path.join(out, "build.json"), `${JSON.stringify(manifest, null, 2)}\n`);
