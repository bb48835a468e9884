// The vitals module as a script of its own; see fingerprint/entry.ts.

import type { ModuleElement } from "../modules";
import { measureVitals } from "./measure";

const script = document.currentScript as ModuleElement | null;
if (script) script.run = measureVitals;
