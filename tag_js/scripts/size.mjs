// Prints what a browser has to load, brotli at its best, and fails where a bound is exceeded: bytes are exact.

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync } from "node:zlib";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const built = path.join(root, "../collector/static/tag");

const FIGURES = [
  { figure: "core_br", file: "t.js", against: 7000 },
  { figure: "fingerprint_br", file: "f.js", against: 5000 },
  { figure: "vitals_br", file: "v.js", against: 3300 },
  { figure: "media_br", file: "m.js", against: 1000 },
  { figure: "consent_br", file: "c.js", against: 1000 },
  { figure: "profile_br", file: "p.js", against: 1500 },
  { figure: "overlay_br", file: "o.js", against: 4000 },
];

const rows = FIGURES.map(({ figure, file, against }) => {
  const value = statSync(path.join(built, `${file}.br`)).size;
  const raw = readFileSync(path.join(built, file)).length;
  return { figure, file, raw, value, against, ratio: Number((value / against).toFixed(3)) };
});

// The snippet is printed by the collector: measured where its Python is set up.
const python = [path.join(root, "../.venv/bin/python")].find((file) => existsSync(file));
if (python) {
  const script =
    "from collector.config import Config; from collector.snippet import make_snippet; from collector.sites.book import Site;" +
    "print(make_snippet(Config(), Site(site_id='shop')).split('>', 1)[1].split('</script>')[0], end='')";
  const text = execFileSync(python, ["-c", script], { cwd: path.join(root, "..") });
  const value = brotliCompressSync(text).length;
  const against = 251; // at most 250
  rows.push({
    figure: "snippet_br",
    file: "inline",
    raw: text.length,
    value,
    against,
    ratio: Number((value / 250).toFixed(3)),
  });
}

console.log("figure          file    raw B   brotli B   at most");
for (const { figure, file, raw, value, against } of rows) {
  console.log(
    `${figure.padEnd(16)}${file.padEnd(8)}${String(raw).padStart(5)}${String(value).padStart(11)}${String(against).padStart(10)}`,
  );
}
for (const { figure, value, against, ratio } of rows) {
  console.log(JSON.stringify({ figure, value, unit: "B", against, ratio }));
}
if (rows.some(({ value, against }) => value >= against)) {
  console.error("too big: see the table");
  process.exitCode = 1;
}
