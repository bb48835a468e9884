// The page's way in: one global function that takes commands, before the tag has loaded and after.
//
// The snippet leaves a function that keeps calls in its `q`. The tag puts a function of its own in its place and runs
// what was kept, in order. Whatever happens here never reaches the page as an exception.

import type { Commands, Note } from "./tag";

export type Call = ArrayLike<unknown>;

export interface Stub {
  (...call: unknown[]): void;
  q?: Call[];
  /** Address of the page before the snippet took the link's token off it. */
  u?: string;
  isTagstitch?: true;
}

/** The arguments of the first `init` that was called so far. */
export function findInit(stub: Stub | undefined): Record<string, unknown> | undefined {
  const call = Array.from(stub?.q || []).find((one) => one[0] === "init");
  return call && ((call[1] as Record<string, unknown>) || {});
}

/** Run what the stub has kept, and whatever comes from now on. `names`: the global function is replaced in `scope`. */
export function takeOver(
  scope: Record<string, unknown>,
  name: string,
  stub: Stub | undefined,
  commands: Commands,
  note: Note,
): void {
  const run: Stub = (...call) => {
    try {
      const command = commands[call[0] as string];
      if (command) command(...(call.slice(1) as never[]));
      else if (call[0] !== "init") note("no such command", call[0]);
    } catch (error) {
      note("failed", error);
    }
  };
  run.isTagstitch = true;
  scope[name] = run;
  for (const call of Array.from(stub?.q || [])) run(...Array.from(call));
}
