// What a device signal is: a name and a way to read it. One file per signal in `sources/`, all of them in `registry.ts`.
//
// The head of each file says what the signal tells, how stable it is and which browsers blur it. The same stands as
// data in `fingerprint/signals.py`, where signals are judged; a test holds the names and the marks together.

/** A value that JSON can carry, small: a signal is a feature, not a recording. Yes and no are 1 and 0. */
export type Value = string | number | string[];

/**
 * A signal without a value says why: `missing` (this browser has none), `noise` (it answers, but not with what is
 * there), `rfp` or `brave` (that protection is on and blurs this signal), `timeout`, or the name of the exception.
 */
export interface Failure {
  error: string;
}

/** What a source finds; nothing, null or an empty text is `missing`. */
export type Finding = Value | boolean | Failure | null | undefined;

export interface Source {
  /** Name on the wire; never changes its meaning, a new meaning gets a new name. */
  name: string;
  /** Protections that replace this value where they are on, by first letter; then it is not read at all. */
  blur?: "r" | "b" | "rb";
  /** May throw or reject: the collector turns that into a Failure. */
  read(): Finding | Promise<Finding>;
}
