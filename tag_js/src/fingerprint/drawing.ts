// Pictures on a canvas that is never shown, and their digests.
//
// Drawn by the processor, not the graphics card (`willReadFrequently`): the picture is then the same with and without
// acceleration, and reading it back waits for nothing. The graphics card has signals of its own.

import { digest } from "./digest";
import type { Finding } from "./source";

const SIDE = 16;

let isNoisy: boolean | undefined;

export function openCanvas(width = SIDE, height = SIDE): CanvasRenderingContext2D | null {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas.getContext("2d", { willReadFrequently: true });
}

/**
 * Whether what is read is not what was drawn: 256 opaque pixels, no two neighbours of one colour, each known. Drawing
 * a picture twice would not show it: Brave, Safari and Firefox blur it in the same way each time.
 */
function findNoise(): boolean | undefined {
  const context = openCanvas();
  if (!context) return;
  const drawn: number[] = [];
  for (let i = 0; i < SIDE * SIDE; i++) {
    const color = [i, 255 - i, (i * 7) % 256];
    drawn.push(...color, 255);
    context.fillStyle = `rgb(${color})`;
    context.fillRect(i % SIDE, Math.floor(i / SIDE), 1, 1);
  }
  return context.getImageData(0, 0, SIDE, SIDE).data.some((byte, i) => byte !== drawn[i]);
}

/** Paint, and return the digest of the picture: or why there is none. */
export function digestPicture(
  width: number,
  height: number,
  paint: (context: CanvasRenderingContext2D) => void,
): Finding {
  isNoisy ??= findNoise();
  if (isNoisy) return { error: "noise" };
  const context = openCanvas(width, height);
  if (!context) return;
  // Otherwise letters are placed by the screen's pixels, and another screen, or zoom, would draw them otherwise.
  context.textRendering = "geometricPrecision";
  paint(context);
  return digest(context.getImageData(0, 0, width, height).data);
}
