import { expect, test } from "vitest";
import { createPages } from "../src/page";
import { visit } from "./fakes";

test("the first page has the document's referrer, the next ones the page before", () => {
  visit("https://shop.example/a", "https://search.example/");
  const pages = createPages();
  pages.turn();
  expect(pages.current(false)).toEqual({
    u: "https://shop.example/a",
    r: "https://search.example/",
    h: "Spring offer",
  });
  history.pushState(null, "", "/b");
  document.title = "B";
  pages.turn();
  expect(pages.current(false)).toEqual({ u: "https://shop.example/b", r: "https://shop.example/a", h: "B" });
});

test("a second view of the same page keeps its referrer", () => {
  visit("https://shop.example/a", "https://search.example/");
  const pages = createPages();
  pages.turn();
  pages.turn();
  expect(pages.current(false).r).toBe("https://search.example/");
});
