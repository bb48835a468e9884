import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { followMedia } from "../src/media/playback";
import { stopListening, visit, watchListeners } from "./fakes";
import { act, put } from "./trusted";

const track = vi.fn();

beforeEach(() => {
  visit("https://shop.example/");
  watchListeners();
  track.mockReset();
});
afterEach(stopListening);

const FILM = "https://cdn.example/a/film.mp4?token=1#t=3";

/** Let the element say that these parts of it were played. */
function play(element: HTMLElement, parts: [number, number][], more: Record<string, unknown> = {}): void {
  const played = {
    length: parts.length,
    start: (i: number) => parts[i]?.[0],
    end: (i: number) => parts[i]?.[1],
  };
  for (const [key, value] of Object.entries({ played, duration: 100, currentSrc: FILM, readyState: 4, ...more })) {
    Object.defineProperty(element, key, { value, configurable: true });
  }
  act(element, "timeupdate");
}

function follow(html: string): HTMLElement {
  const element = put(html);
  followMedia(track, element as HTMLMediaElement);
  return element;
}

function noted(): unknown[] {
  return track.mock.calls.map(([, { action, percent, seconds }]) => [action, percent, seconds]);
}

test("a film that is played to its end: start, quarters, completion, each once", () => {
  const film = follow("<video id=it></video>");
  for (let second = 0; second <= 100; second++) play(film, [[0, second]]);
  play(film, [[0, 100]]);
  expect(noted()).toEqual([
    ["play", 0, 0],
    ["progress", 25, 25],
    ["progress", 50, 50],
    ["progress", 75, 75],
    ["complete", 100, 95],
  ]);
  expect(track.mock.calls[1]).toEqual([
    "media",
    {
      action: "progress",
      kind: "video",
      src: "https://cdn.example/a/film.mp4",
      percent: 25,
      seconds: 25,
      duration_s: 100,
    },
  ]);
});

test("what is skipped does not count, and what is played twice counts once", () => {
  const film = follow("<video id=it></video>");
  play(film, [[0, 2]]);
  play(film, [
    [0, 2],
    [90, 100],
  ]);
  expect(noted()).toEqual([["play", 0, 2]]);
  play(film, [
    [0, 20],
    [90, 100],
  ]);
  expect(noted()).toEqual([
    ["play", 0, 2],
    ["progress", 25, 30],
  ]);
});

test("another source in the same element begins anew", () => {
  const player = follow("<audio id=it></audio>");
  play(player, [[0, 30]]);
  play(player, [[0, 1]], { currentSrc: "https://cdn.example/b.mp3" });
  expect(noted()).toEqual([
    ["play", 0, 30],
    ["progress", 25, 30],
    ["play", 0, 1],
  ]);
  expect(track.mock.calls[2]?.[1]).toMatchObject({ kind: "audio", src: "https://cdn.example/b.mp3" });
});

test("elements that come later are followed as well", () => {
  follow("<video id=it></video>");
  play(put("<audio id=it></audio>"), [[0, 1]]);
  expect(noted()).toEqual([["play", 0, 1]]);
});

test("a live stream is noted as played, without a length", () => {
  const live = follow("<video id=it></video>");
  for (const second of [1, 1000]) play(live, [[0, second]], { duration: Number.POSITIVE_INFINITY });
  expect(noted()).toEqual([["play", 0, 1]]);
  expect(track.mock.calls[0]?.[1].duration_s).toBeUndefined();
});

test("the site's title stands for the address; a source without an address has none", () => {
  const film = follow('<video id=it data-ts-title="How it is made"></video>');
  play(film, [[0, 1]]);
  play(put("<video id=it></video>"), [[0, 1]], { currentSrc: "blob:https://shop.example/0a1b" });
  expect(track.mock.calls.map(([, { src }]) => src)).toEqual(["How it is made", undefined]);
});

test("a moving picture, which nobody chose to play, and what is to be ignored are not noted", () => {
  play(follow("<video id=it loop></video>"), [[0, 1]], { muted: true });
  play(follow("<div data-ts-ignore><video id=it></video></div>"), [[0, 1]]);
  expect(track).not.toHaveBeenCalled();
});

test("what has played before the module came is noted at once", () => {
  const film = put("<video id=it></video>");
  play(film, [[0, 60]]);
  followMedia(track, film as HTMLMediaElement);
  expect(noted()).toEqual([
    ["play", 0, 60],
    ["progress", 25, 60],
    ["progress", 50, 60],
  ]);
});
