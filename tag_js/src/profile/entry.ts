// The module of the profile as a script of its own; see fingerprint/entry.ts.

import type { ModuleElement } from "../modules";
import { followProfile } from "./follow";

const script = document.currentScript as ModuleElement | null;
if (script) script.run = followProfile;
