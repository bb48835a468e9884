// What the build writes into the code. See scripts/build.mjs.

/** Version of the tag, as in package.json. */
declare const __VERSION__: string;
/** SHA-256 of each lazy module in base64, by its letter: its integrity, and part of its address. */
declare const __MODULES__: Record<string, string>;
