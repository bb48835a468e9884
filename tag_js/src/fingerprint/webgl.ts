// The WebGL context that five signals share. Made on first use, which costs 7 to 30 ms.

import type { Finding } from "./source";

let context: WebGLRenderingContext | null | undefined;

/** What `read` finds in the context; nothing where there is none. */
export function fromWebgl(read: (context: WebGLRenderingContext) => Finding): Finding {
  // Null is kept too: a browser that refuses once would take as long to refuse four times more.
  if (context === undefined) context = document.createElement("canvas").getContext("webgl");
  return context && read(context);
}

/** A name that hides behind the debug extension. Firefox gives it under the plain parameter, and warns of the other. */
export function readName(unmasked: number, masked: number): Finding {
  return fromWebgl((context) =>
    context.getParameter(context.getExtension("WEBGL_debug_renderer_info") ? unmasked : masked),
  );
}
