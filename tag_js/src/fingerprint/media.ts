// Media features: what the page's style may ask of screen and settings.

/** The values of the feature that hold. */
export function findMedia(feature: string, values: (string | number)[]): string[] {
  return values.filter((value) => matchMedia(`(${feature}:${value})`).matches).map(String);
}

/** The first value of the feature that holds; none where the browser does not know the feature. */
export function readMedia(feature: string, ...values: (string | number)[]): string | undefined {
  return findMedia(feature, values)[0];
}
