// Canvas geometry: how this device draws curves, gradients and blended colours. Tells the graphics library
// and the processor family; the same for many devices, stable until a major version. Blurred by resistFingerprinting,
// by Firefox's and Safari's private windows and by Brave: then it is `noise`.

import { digestPicture } from "../drawing";
import type { Source } from "../source";

export const canvasGeometry: Source = {
  name: "canvas_geometry",
  read: () =>
    digestPicture(110, 90, (context) => {
      const gradient = context.createLinearGradient(0, 0, 110, 90);
      gradient.addColorStop(0, "#fed");
      gradient.addColorStop(1, "#369");
      context.fillStyle = gradient;
      context.fillRect(0, 0, 110, 90);
      context.globalCompositeOperation = "multiply";
      ["#f2f", "#2ff", "#ff2"].forEach((color, i) => {
        context.fillStyle = color;
        context.beginPath();
        context.arc(40 + 15 * i, 35 + 20 * (i % 2), 29.5, 0, 7);
        context.fill();
      });
      context.lineWidth = 1.7;
      context.beginPath();
      context.moveTo(5, 80);
      context.bezierCurveTo(30, -40, 70, 130, 105, 9.3);
      context.stroke();
    }),
};
