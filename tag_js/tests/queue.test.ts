// @vitest-environment node

import { expect, test, vi } from "vitest";
import { Said } from "../src/notes";
import { type Call, type Commands, findInit, takeOver } from "../src/queue";

function makeCommands(): [Commands, unknown[][]] {
  const log: unknown[][] = [];
  const commands: Commands = {};
  for (const name of ["begin", "consent", "track", "page"]) {
    commands[name] = (...args: never[]) => log.push([name, ...args]);
  }
  return [commands, log];
}

test("what was called before load runs in order, answers about consent first", () => {
  const [commands, log] = makeCommands();
  const calls = [
    ["track", "a"],
    ["init", { site: "s" }],
    ["consent", "all"],
    ["track", "b", { x: 1 }],
  ];
  const run = takeOver(calls, commands, () => {});
  run("track", "c");
  expect(log).toEqual([["consent", "all"], ["begin"], ["track", "a"], ["track", "b", { x: 1 }], ["track", "c"]]);
});

test("a command that fails and one that does not exist are noted, not thrown", () => {
  const note = vi.fn();
  const run = takeOver(
    [],
    {
      track() {
        throw new Error("circle");
      },
    },
    note,
  );
  run("track");
  run("fly");
  run();
  expect(note.mock.calls.map(([said]) => said)).toEqual([Said.NoCommand, Said.Failed, Said.NoCommand, Said.NoCommand]);
});

test("init is found among the calls, arguments objects included", () => {
  const keep = function (..._call: unknown[]): Call {
    // biome-ignore lint/complexity/noArguments: what the snippet keeps.
    return arguments as unknown as Call;
  };
  const call = keep("init", { site: "shop" });
  expect(findInit([["track", "a"], call])).toEqual({ site: "shop" });
  expect(findInit([["init"]])).toEqual({});
  expect(findInit([])).toEqual({});
});
