/** The collector under the site's own origin: /x/t.js, /x/b and the lazy modules. */
export default {
  async rewrites() {
    return [{ source: "/x/:path*", destination: `${process.env.COLLECTOR}/x/:path*` }];
  },
};
