// Which page the visitor is on, and where from.

export interface Page {
  u: string;
  r: string;
  h: string;
}

export interface Pages {
  /**
   * The page as of now: its address is the present one, its referrer that of the last page view. `isLeaving`: the
   * route has changed already, and what is said is about the page of the last view.
   */
  current(isLeaving: boolean): Page;
  /** A page view begins. In a single-page app the referrer is the page before. */
  turn(): void;
}

export function createPages(): Pages {
  let url = location.href;
  // As text: an image or form with such a name takes the property's place.
  let referrer = `${document.referrer}`;
  return {
    current: (isLeaving) => ({ u: isLeaving ? url : location.href, r: referrer, h: `${document.title}` }),
    turn() {
      if (location.href !== url) referrer = url;
      url = location.href;
    },
  };
}
