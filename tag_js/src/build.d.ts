// What the build writes into the code. See scripts/build.mjs.

/** SHA-256 of the index of the lazy modules, in base64: its integrity, and part of its address. */
declare const __INDEX__: string;
/** The same of each module, by its letter: what the index holds. */
declare const __MODULES__: Record<string, string>;
