// Canvas: how this device draws text, curves and blending. Tells graphics stack, fonts and emoji set. Stable until a
// browser or driver update. Blurred by Firefox resistFingerprinting, Brave and Safari's private mode: they add noise,
// which shows when the same picture is drawn twice; then there is no value.

import { digest } from "../digest";
import type { Failure, Source } from "../source";

function draw(): string {
  const canvas = document.createElement("canvas");
  canvas.width = 240;
  canvas.height = 60;
  const context = canvas.getContext("2d");
  if (!context) return "";
  context.textBaseline = "alphabetic";
  context.fillStyle = "#f60";
  context.fillRect(100, 1, 62, 20);
  context.fillStyle = "#069";
  context.font = "11pt serif";
  context.fillText("Sphinx of quartz, judge my vow \u{1f603}", 2, 15);
  context.fillStyle = "rgba(102,204,0,0.7)";
  context.font = "18pt sans-serif";
  context.fillText("Åß ffi 永 ﷽", 4, 45);
  context.globalCompositeOperation = "multiply";
  for (const [color, x] of [
    ["#f2f", 40],
    ["#2ff", 80],
    ["#ff2", 60],
  ] as const) {
    context.fillStyle = color;
    context.beginPath();
    context.arc(x + 120, 35, 20, 0, 7);
    context.fill();
  }
  return canvas.toDataURL();
}

export const canvas: Source = {
  name: "canvas",
  read(): string | Failure {
    const first = draw();
    if (!first) return { error: "missing" };
    return first === draw() ? digest(first) : { error: "noise" };
  },
};
