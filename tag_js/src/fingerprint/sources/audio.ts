// Audio: how this device computes a compressed tone, without playing it. Tells engine, version and processor family.
// Stable until a browser update. Brave and Safari's private mode add noise, which shows when it is computed twice.

import type { Failure, Source } from "../source";

async function render(): Promise<number> {
  const context = new OfflineAudioContext(1, 5000, 44_100);
  const oscillator = context.createOscillator();
  oscillator.type = "triangle";
  oscillator.frequency.value = 10_000;
  const compressor = context.createDynamicsCompressor();
  compressor.threshold.value = -50;
  compressor.knee.value = 40;
  compressor.ratio.value = 12;
  compressor.attack.value = 0;
  compressor.release.value = 0.25;
  oscillator.connect(compressor);
  compressor.connect(context.destination);
  oscillator.start(0);
  const samples = (await context.startRendering()).getChannelData(0).subarray(4500);
  return samples.reduce((sum, sample) => sum + Math.abs(sample), 0);
}

export const audio: Source = {
  name: "audio",
  async read(): Promise<number | Failure> {
    if (typeof OfflineAudioContext === "undefined") return { error: "missing" };
    const first = await render();
    return first === (await render()) ? first : { error: "noise" };
  },
};
