import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { watchClicks, watchMedia } from "../src/autocapture";
import { stopListening, visit, watchListeners } from "./fakes";
import { act, put } from "./trusted";

const AUTO = "outbound downloads clicks media";
const track = vi.fn();

beforeEach(() => {
  vi.useFakeTimers();
  visit("https://shop.example/");
  watchListeners();
  track.mockReset();
});
afterEach(() => {
  stopListening();
  vi.useRealTimers();
});

function watch(auto = AUTO, clicks: Record<string, string> = {}): void {
  watchClicks((word) => auto.includes(word), clicks, track);
}

test.each([
  ["https://other.example/a/b?q=1#c", { url: "https://other.example/a/b", host: "other.example" }],
  ["//www.shop.example", { url: "https://www.shop.example/", host: "www.shop.example" }],
  ["https://me:secret@other.example:8443/", { url: "https://other.example:8443/", host: "other.example:8443" }],
])("a click inside a link to %s leads away", (href, props) => {
  watch();
  act(put(`<a href="${href}"><b id=it>go</b></a>`), "click");
  expect(track.mock.calls).toEqual([["outbound_click", props]]);
});

test.each([
  "/a",
  "#x",
  "https://shop.example/b",
  "mailto:a@b.example",
  "tel:1",
  "javascript:void 0",
  "data:text/plain,x",
  "blob:https://shop.example/0a1b",
  "http://",
])("a link to %s is nothing", (href) => {
  watch();
  act(put(`<a id=it href="${href}" ${/^(data|blob)/.test(href) ? "download=a.pdf" : ""}>go</a>`), "click");
  expect(track).not.toHaveBeenCalled();
});

test.each([
  [`href="/a/Price%20list.PDF?for=me#p2"`, { url: "https://shop.example/a/Price%20list.PDF", extension: "pdf" }],
  [`href="https://cdn.example/x.zip"`, { url: "https://cdn.example/x.zip", extension: "zip" }],
  [`href="/export?id=4" download="report.csv"`, { url: "https://shop.example/export", extension: "csv" }],
  [`href="/export" download`, { url: "https://shop.example/export", extension: undefined }],
  [`href="/manual.docx"`, { url: "https://shop.example/manual.docx", extension: "docx" }],
])("a link with %s is a download, and only that", (attributes, props) => {
  watch();
  act(put(`<a id=it ${attributes}>get</a>`), "click");
  expect(track.mock.calls).toEqual([["file_download", props]]);
});

test("a page whose name looks like a file's is none", () => {
  watch();
  for (const path of ["/index.html", "/about.php", "/users/john.doe", "/v1.2", "/pdf"]) {
    act(put(`<a id=it href="${path}">x</a>`), "click");
  }
  expect(track).not.toHaveBeenCalled();
});

test("each kind has a word of its own in `auto`", () => {
  watch("outbound");
  const html = `<a id=it href="https://other.example/x.pdf" data-ts-event="pick">x</a>`;
  act(put(html), "click");
  expect(track.mock.calls).toEqual([["outbound_click", { url: "https://other.example/x.pdf", host: "other.example" }]]);
  stopListening();
  track.mockReset();
  watch("clicks");
  act(put(html), "click");
  expect(track.mock.calls).toEqual([["pick", {}]]);
});

test("the middle button opens links, the right one menus, and neither presses a button", () => {
  watch();
  const link = put(`<a id=it href="https://other.example/">x</a>`);
  act(link, "auxclick", { button: 1 });
  act(link, "auxclick", { button: 2 });
  act(put(`<button id=it data-ts-event=pick>x</button>`), "auxclick", { button: 1 });
  expect(track.mock.calls.map(([name]) => name)).toEqual(["outbound_click"]);
});

test("a named element gives the click its name and its properties, from whatever was clicked inside", () => {
  watch();
  act(
    put(`<div data-ts-event=outer><p data-ts-event="add_to_cart" data-ts-item-id="007" data-ts-price=12.5 data-other=x
      data-tsx=y><b id=it>Buy for <i>me@shop.example</i></b><input value=secret></p></div>`),
    "click",
  );
  expect(track.mock.calls).toEqual([["add_to_cart", { item_id: "007", price: "12.5" }]]);
});

test("selectors name clicks too; one that cannot be read costs no other", () => {
  watch(AUTO, { ":::": "broken", ".buy": "buy", "#menu a": "menu", p: "" });
  act(put(`<p id=menu><a href="/x"><b class=buy data-ts-size=M id=it>x</b></a></p>`), "click");
  expect(track.mock.calls).toEqual([
    ["buy", { size: "M" }],
    ["menu", {}],
  ]);
});

test("inside a shadow tree the real element is seen, and names outside of it count", () => {
  watch();
  const host = put(`<p data-ts-event=card data-ts-item=A><my-card id=it></my-card></p>`);
  host.attachShadow({ mode: "open" }).innerHTML = `<a href="https://other.example/"><b>x</b></a>`;
  act(host.shadowRoot?.querySelector("b") as HTMLElement, "click");
  expect(track.mock.calls).toEqual([
    ["card", { item: "A" }],
    ["outbound_click", { url: "https://other.example/", host: "other.example" }],
  ]);
});

test("what a script dispatches is no click, and what is to be ignored is ignored", () => {
  watch();
  put(`<a id=it href="https://other.example/" data-ts-event=pick>x</a>`).dispatchEvent(
    new Event("click", { bubbles: true, composed: true }),
  );
  act(put(`<div data-ts-ignore><a id=it href="https://other.example/" data-ts-event=pick>x</a></div>`), "click");
  expect(track).not.toHaveBeenCalled();
});

test("the first media element that plays starts it, once", () => {
  const start = vi.fn();
  const video = put("<video id=it></video>");
  watchMedia(({ target }) => start(target));
  act(video, "play");
  act(video, "play");
  expect(start.mock.calls).toEqual([[video]]);
});
