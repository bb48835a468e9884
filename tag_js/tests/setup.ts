// Before each test: what one that shares the world with it may have left elsewhere.
import { beforeEach } from "vitest";

const world = globalThis as unknown as { happyDOM?: { setURL(url: string): void } }; // without one, in Node

beforeEach(() => world.happyDOM?.setURL("https://shop.example/"));
