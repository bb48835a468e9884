// What a device signal is: a name and a way to read it. One file per signal in `sources/`, all of them in `registry.ts`.

/** A value that JSON can carry, small: a signal is a feature, not a recording. */
export type Value = string | number | string[];

/** A signal that could not be read says why: `missing`, `noise`, `timeout`, or the name of the exception. */
export interface Failure {
  error: string;
}

export interface Source {
  /** Name on the wire; never changes its meaning, a new meaning gets a new name. */
  name: string;
  /** May throw or reject: the collector turns that into a Failure. */
  read(): Value | Failure | Promise<Value | Failure>;
}

/** The value, or the failure `missing` where the browser has none. */
export function orMissing(value: Value | null | undefined): Value | Failure {
  return value === undefined || value === null || value === "" ? { error: "missing" } : value;
}
