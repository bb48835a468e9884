import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { watchForms } from "../src/forms";
import { stopListening, visit, watchListeners } from "./fakes";
import { act, put } from "./trusted";

const track = vi.fn();
let leave: () => void;

beforeEach(() => {
  vi.useFakeTimers({ now: Date.UTC(2026, 10, 20) });
  visit("https://shop.example/checkout/");
  watchListeners();
  track.mockReset();
  // A copy, as the tag makes one: what is noted may change afterwards.
  leave = watchForms((name, props) => track(name, structuredClone(props)));
});
afterEach(() => {
  stopListening();
  vi.useRealTimers();
});

const get = (selector: string): HTMLElement => document.querySelector(selector) as HTMLElement;

function enter(selector: string): void {
  act(get(selector), "focusin");
  act(get(selector), "input");
}

/** What the browser does when the button is pressed. */
function press(...invalid: string[]): void {
  act(get("button"), "focusin");
  act(get("button"), "click");
  for (const selector of invalid) act(get(selector), "invalid");
  if (!invalid.length) act(get("form"), "submit");
  vi.advanceTimersByTime(1);
}

function noted(): unknown[] {
  const calls = track.mock.calls.map(([name, props]) => {
    expect(name).toBe("form");
    return props;
  });
  track.mockReset();
  return calls;
}

const FORM = `<form id=sign-up><input name=email value=me@shop.example><input type=password name=password value=secret>
  <input type=hidden name=csrf value=token><select id=plan><option>gold</select><button name=go>go</button></form>`;

test("a submitted form: its name, the fields in their order, and the last one", () => {
  put(FORM);
  act(get("[name=email]"), "focusin");
  vi.advanceTimersByTime(60_000);
  act(get("[name=email]"), "input");
  vi.advanceTimersByTime(2340);
  enter("[name=password]");
  enter("#plan");
  enter("[name=password]");
  press();
  expect(noted()).toEqual([
    {
      form: "sign-up",
      outcome: "submitted",
      fields: ["email", "password", "plan"],
      last_field: "password",
    },
  ]);
  leave();
  expect(noted()).toEqual([]);
});

test("no value of any field gets into an event", () => {
  put(FORM);
  for (const selector of ["[name=email]", "[name=password]", "#plan"]) enter(selector);
  press("[name=email]");
  press();
  enter("[name=email]");
  leave();
  expect(JSON.stringify(track.mock.calls)).not.toMatch(/me@shop|secret|token|gold/);
  expect(noted()).toHaveLength(3);
});

test("an attempt with invalid fields is noted once, a second attempt again, and giving up then is abandonment", () => {
  put(FORM);
  press("[name=email]", "[name=password]");
  press("[name=email]");
  leave();
  leave();
  expect(noted()).toMatchObject([{ outcome: "invalid", fields: [] }, { outcome: "invalid" }, { outcome: "abandoned" }]);
});

test("a page that asks for validity with every key has no attempts", () => {
  put(FORM);
  for (let i = 0; i < 3; i++) {
    enter("[name=email]");
    act(get("[name=email]"), "invalid");
    vi.advanceTimersByTime(50);
  }
  expect(noted()).toEqual([]);
});

test("fields that the page's own script finds invalid after the submit event make the attempt invalid", () => {
  put(FORM);
  get("form").addEventListener("submit", () => act(get("[name=email]"), "invalid"), { once: true });
  enter("[name=email]");
  press();
  expect(noted()).toMatchObject([{ outcome: "invalid", last_field: "email" }]);
  press();
  expect(noted()).toMatchObject([{ outcome: "submitted" }]);
});

test("a submit in the moment of leaving is not lost", () => {
  put(FORM);
  act(get("form"), "submit");
  leave();
  vi.advanceTimersByTime(10);
  expect(noted()).toEqual([{ form: "sign-up", outcome: "submitted", fields: [] }]);
});

test("a begun form is abandoned when the page is left, and may still be submitted afterwards", () => {
  put(FORM);
  enter("[name=email]");
  leave();
  leave();
  enter("[name=password]");
  press();
  expect(noted()).toMatchObject([
    { outcome: "abandoned", fields: ["email"], last_field: "email" },
    { outcome: "submitted", fields: ["email", "password"] },
  ]);
});

test("a focus alone, which a page may set itself, begins nothing", () => {
  put(FORM);
  act(get("[name=email]"), "focusin");
  leave();
  expect(noted()).toEqual([]);
});

test("who turns to another form leaves the one before", () => {
  put(`${FORM}<form name=search><input name=q></form>`);
  enter("[name=email]");
  enter("[name=q]");
  act(get("[name=search]"), "submit");
  vi.advanceTimersByTime(1);
  expect(noted()).toMatchObject([
    { form: "sign-up", outcome: "abandoned" },
    { form: "search", outcome: "submitted", fields: ["q"] },
  ]);
});

test("what became of one form says nothing of the next", () => {
  put(`${FORM}<form name=search><input name=q></form>`);
  press("[name=email]");
  act(get("[name=q]"), "focusin");
  leave();
  expect(noted()).toMatchObject([
    { form: "sign-up", outcome: "invalid" },
    { form: "sign-up", outcome: "abandoned" },
  ]);
});

test("a label that is clicked is no field", () => {
  put("<form id=a><label id=name-label for=name>Name</label><input id=name></form>");
  act(get("label"), "click");
  enter("input");
  leave();
  expect(noted()).toMatchObject([{ fields: ["name"] }]);
});

test.each([
  ["<form id=a name=b action=/c>", "a"],
  ["<form name=b action=/c>", "b"],
  ["<form action=/c>", ""],
])("%s is called %s, whatever its fields are called", (html, name) => {
  put(`${html}<input name=id><input name=name><input name=action><button></button></form>`);
  press();
  expect(noted()).toMatchObject([{ form: name }]);
});

test("at most 20 fields are named, and a field without a name or id is not", () => {
  put(`<form id=a><input class=bare>${Array.from({ length: 30 }, (_, i) => `<input name=f${i}>`).join("")}</form>`);
  for (const field of Array.from(document.querySelectorAll("input"))) act(field, "input");
  leave();
  const [props] = noted() as { fields: string[]; last_field: string }[];
  expect(props?.fields).toEqual(Array.from({ length: 20 }, (_, i) => `f${i}`));
  expect(props?.last_field).toBe("f29");
});

test("what is to be ignored, or was done by a script, is left alone", () => {
  put(`<div data-ts-ignore>${FORM}</div>`);
  enter("[name=email]");
  press();
  put(FORM);
  act(get("[name=email]"), "input", { isTrusted: false });
  act(get("form"), "submit", { isTrusted: false });
  vi.advanceTimersByTime(1);
  leave();
  expect(noted()).toEqual([]);
});
