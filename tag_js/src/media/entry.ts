// The media module as a script of its own; see fingerprint/entry.ts.

import type { ModuleElement } from "../modules";
import { followMedia } from "./playback";

const script = document.currentScript as ModuleElement | null;
if (script) script.run = followMedia;
