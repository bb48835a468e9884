// The page's way in: one global function that takes commands, before the tag has loaded and after.
//
// The snippet leaves a function that keeps calls in its `q`; the entry keeps calls until the tag may start; then what
// was kept runs, and whatever comes after it. What happens in a command never reaches the page as an exception.

import { type Noting, Said } from "./notes";
import type { Init } from "./settings";

/** A command and its arguments. */
export type Call = ArrayLike<unknown> & Iterable<unknown>;
export type Commands = Record<string, (...args: never[]) => void>;

export interface Stub {
  (...call: unknown[]): void;
  /** Calls that nobody has run yet. */
  q?: Call[];
  /** Address of the page before the snippet took the link's token off it. */
  u?: string;
  /** Set once the tag itself has come. */
  isTagstitch?: boolean;
}

/** What the first `init` among the calls says. */
export function findInit(calls: Call[]): Init {
  return (calls.find((call) => call[0] === "init")?.[1] as Init) || {};
}

/**
 * Run the calls that were kept and return the function that runs those to come. Answers about consent come first, so
 * that a "no" said before the tag had loaded holds from its first event on; then `begin`; then the rest in order.
 */
export function takeOver(calls: Call[], commands: Commands, note: Noting): Stub {
  const run: Stub = (...call) => {
    try {
      const command = commands[call[0] as string];
      if (command) command(...(call.slice(1) as never[]));
      else note(Said.NoCommand, call[0]);
    } catch (error) {
      note(Said.Failed, error);
    }
  };
  run.isTagstitch = true;
  const isAnswer = (call: Call): boolean => call[0] === "consent";
  for (const call of calls.filter(isAnswer)) run(...call);
  run("begin");
  for (const call of calls) isAnswer(call) || run(...call);
  return run;
}
