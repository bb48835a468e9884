// Audio: how this device computes a compressed tone, without playing it. Tells engine, its generation and the processor
// family; stable until a major version. Brave and Safari's private mode add noise; then it is `noise`, which shows in a
// stretch whose samples are known.

import type { Source } from "../source";

export const audio: Source = {
  name: "audio",
  async read() {
    if (typeof OfflineAudioContext === "undefined") return;
    const context = new OfflineAudioContext(1, 5000, 44_100);
    const compressor = new DynamicsCompressorNode(context, {
      threshold: -50,
      knee: 40,
      ratio: 12,
      attack: 0,
      release: 0.25,
    });
    compressor.connect(context.destination);
    const tone = new OscillatorNode(context, { type: "triangle", frequency: 10_000 });
    tone.connect(compressor);
    tone.start();
    // The compressor looks ahead 6 ms, so the tone is silent for its first 264 samples. There, and there only, is a
    // level of 1.
    const level = new ConstantSourceNode(context);
    level.connect(context.destination);
    level.start();
    level.stop(0.003);
    const samples = (await context.startRendering()).getChannelData(0);
    if (samples.subarray(0, 120).some((sample) => sample !== 1)) return { error: "noise" };
    return samples.subarray(4500).reduce((sum, sample) => sum + Math.abs(sample), 0);
  },
};
