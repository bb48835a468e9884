// Makes the tag as small as it gets: esbuild bundles, terser takes another twelfth off, and names of properties that
// only the tag itself uses become letters.
//
// A name may stand in INTERNAL only where nothing but our own code has it: no property of the browser's that we use, no
// field of the wire, of the settings, of the commands or of what is kept on the device. tests/minify.test.ts holds the
// first against TypeScript's own list of what browsers have.

import { minify } from "terser";

export const INTERNAL = [
  ..."visitor resetFrom signalsSent startedMs lastMs offsetMs isPending decorate facts isTried onReply rename".split(
    " ",
  ),
  ..."forget silence campaign letters allows holds fall memory turn session settle".split(" "),
];
// These the browser has too, on what we do not use them of: as methods of our own parts they are ours.
const SHARED = "current refresh restore verify save resume leave offset answer touch object".split(" ");

/** Return the script in its smallest form. */
export async function shrink(text) {
  const { code } = await minify(text, {
    ecma: 2020,
    toplevel: true,
    compress: {
      passes: 4,
      ecma: 2020,
      arrows: false,
      collapse_vars: false,
      negate_iife: false,
      sequences: false,
      booleans_as_integers: true, // no boolean of ours is written as a literal into what is sent or compared strictly
      hoist_vars: true,
      inline: 1,
      keep_fargs: false,
      lhs_constants: false,
      unsafe: true,
      unsafe_arrows: true,
      unsafe_comps: true,
      unsafe_math: true,
    },
    mangle: { toplevel: true, properties: { regex: new RegExp(`^(${[...INTERNAL, ...SHARED].join("|")})$`) } },
    format: { ecma: 2020, comments: false },
  });
  return code;
}
