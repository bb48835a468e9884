// @vitest-environment node

import { expect, test } from "vitest";
import { makeMemory } from "../src/memory";
import { touchSession } from "../src/session";

const IDLE_MS = 30 * 60_000;

test("the first event begins session number 1", () => {
  const memory = makeMemory();
  touchSession(memory, 1000, IDLE_MS, "");
  expect(memory).toMatchObject({ number: 1, startedMs: 1000, lastMs: 1000, campaign: "" });
});

test("a session lasts while no pause exceeds the idle time", () => {
  const memory = makeMemory();
  touchSession(memory, 0, IDLE_MS, "");
  const first = memory.session;
  for (let i = 1; i <= 5; i++) touchSession(memory, i * IDLE_MS, IDLE_MS, "");
  expect(memory.session).toBe(first);
  touchSession(memory, 6 * IDLE_MS + 1, IDLE_MS, "");
  expect(memory.session).not.toBe(first);
  expect(memory).toMatchObject({ number: 2, startedMs: 6 * IDLE_MS + 1 });
});

test("another campaign begins a session, the same one and none do not", () => {
  const memory = makeMemory();
  touchSession(memory, 0, IDLE_MS, "spring");
  const first = memory.session;
  touchSession(memory, 1, IDLE_MS, "spring");
  touchSession(memory, 2, IDLE_MS, "");
  expect(memory.session).toBe(first);
  touchSession(memory, 3, IDLE_MS, "summer");
  expect(memory).toMatchObject({ number: 2, campaign: "summer" });
});

test("a new session has not sent its signals yet", () => {
  const memory = { ...makeMemory(), signalsSent: 1 };
  touchSession(memory, 0, IDLE_MS, "");
  expect(memory.signalsSent).toBe(0);
});

test("an event that waited does not turn the time back", () => {
  const memory = makeMemory();
  touchSession(memory, 1000, IDLE_MS, "");
  touchSession(memory, 400, IDLE_MS, "");
  expect(memory.lastMs).toBe(1000);
});
