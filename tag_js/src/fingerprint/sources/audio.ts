// Audio: how this device computes a compressed tone, without playing it. Tells engine, its generation and the processor
// family; stable until a major version. Brave and Safari's private mode add noise; then it is `noise`, which shows in a
// stretch whose samples are known.

import type { Source } from "../source";

export const audio: Source = {
  name: "audio",
  async read() {
    if (typeof OfflineAudioContext === "undefined") return;
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
    // The compressor looks ahead 6 ms, so the tone is silent for its first 264 samples. There, and there only, is a
    // level of 1.
    const level = context.createConstantSource();
    level.connect(context.destination);
    level.start(0);
    level.stop(0.003);
    const samples = (await context.startRendering()).getChannelData(0);
    if (samples.subarray(0, 120).some((sample) => sample !== 1)) return { error: "noise" };
    return samples.subarray(4500).reduce((sum, sample) => sum + Math.abs(sample), 0);
  },
};
