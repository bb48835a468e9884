// The WebGL context that two signals share. Made on first use: the first call costs 10 to 30 ms.

import { type Failure, orMissing, type Value } from "../source";

const UNMASKED_VENDOR = 0x9245;
const UNMASKED_RENDERER = 0x9246;

let context: WebGLRenderingContext | null | undefined;

function readParameter(unmasked: number, masked: number): Value | Failure {
  context ??= document.createElement("canvas").getContext("webgl");
  if (!context) return { error: "missing" };
  // Firefox gives the real names under the plain parameters and warns about the extension.
  return orMissing(
    context.getParameter(context.getExtension("WEBGL_debug_renderer_info") ? unmasked : masked) as string,
  );
}

export const readVendor = (): Value | Failure => readParameter(UNMASKED_VENDOR, 0x1f00);
export const readRenderer = (): Value | Failure => readParameter(UNMASKED_RENDERER, 0x1f01);
