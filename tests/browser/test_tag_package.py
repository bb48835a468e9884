"""The tag as a package: in a React and a Vue app in real Chromium, on a server, and for the compiler."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from fresh_build import TAG_JS, bundle, consumer_folder, fresh_build, run_esbuild, run_node
from page_server import PageServer
from playwright.sync_api import Page
from starlette.requests import Request
from starlette.responses import Response

from collector.tag_builds import read_build, versioned_path

APPS = {"react": "tests/data/package/react_app.tsx", "vue": "tests/data/package/vue_app.ts"}


def serve_app(page_server: PageServer, app: str, site: str, *, head: str = "", settings: str = "") -> str:
    """Serve the app's page under its own path, with the site's id put in and further settings; returns its address. Of
    what the tag notes by itself only page views are left, so that no test depends on how long somebody looked."""
    given = f'site: "{site}", auto: "spa"{", " if settings else ""}{settings}'
    script = bundle(APPS[app]).replace('site: "shop"', given)
    assert site in script
    address = f"/{app}/{site}.js"

    def answer(_request: Request) -> Response:
        return Response(script, media_type="text/javascript")

    page_server.pages[address] = answer
    return page_server.add_page(
        f"/{app}",
        f"<!doctype html><html lang=en><head><title>{app}</title>{head}</head>"
        f"<body><div id=root></div><script src={address}></script></body></html>",
    )


@pytest.mark.browser
@pytest.mark.parametrize("app", list(APPS))
def test_an_app_sends_one_view_a_route(app: str, page: Page, page_server: PageServer, site: str) -> None:
    """In React's strict mode and in Vue: nothing before consent, then one page view for each route, with the title
    that it has set and the route before as referrer; going back is a view again."""
    url = serve_app(page_server, app, site)
    page.goto(url)
    page.get_by_role("button", name="consent").wait_for()
    page.wait_for_timeout(500)
    assert page_server.beacons(site) == []
    page.get_by_role("button", name="consent").click()
    page_server.event_names_are(site, ["page_view"])
    page.get_by_role("button", name="basket").click()
    page_server.event_names_are(site, ["page_view"] * 2)
    page.go_back()
    first, second, third = page_server.event_names_are(site, ["page_view"] * 3)
    beacons = [received.envelope for received in page_server.beacons(site)]
    views = [{**envelope, **event} for envelope in beacons for event in envelope["e"]]
    assert [view["u"] for view in views] == [url, f"{url}/basket", url]
    assert [view["h"] for view in views] == [app, f"{app} /{app}/basket", f"{app} /{app}"]
    assert [view.get("r", "") for view in views] == ["", url, f"{url}/basket"]
    assert len({event["i"] for event in (first, second, third)}) == 3
    page.wait_for_timeout(500)
    page_server.event_names_are(site, ["page_view"] * 3)


@pytest.mark.browser
@pytest.mark.parametrize("app", list(APPS))
def test_an_app_says_who_it_is(app: str, page: Page, page_server: PageServer, site: str) -> None:
    """Signing in identifies once, with the signature; signing out begins another visitor; events go with either."""
    page.goto(serve_app(page_server, app, site))
    page.get_by_role("button", name="consent").click()
    page_server.event_names_are(site, ["page_view"])
    for name in ("sign in", "buy", "sign out"):
        page.get_by_role("button", name=name).click()
    page_server.event_names_are(site, ["page_view", "identify", "add_to_cart", "reset"])
    events = {event["n"]: event for event in page_server.events(site)}
    assert events["identify"]["k"] == [{"k": "customer", "v": "4711", "g": "1.2.ab"}]
    assert events["add_to_cart"]["p"] == {"items": [{"item_id": "A-1"}], "value": 12.5, "currency": "EUR"}
    assert len({received.envelope["d"] for received in page_server.beacons(site)}) == 2


@pytest.mark.browser
def test_an_app_loads_what_the_package_leaves_out(page: Page, page_server: PageServer, site: str) -> None:
    """The device's signals, granted, come out of a module that lies beside `script`; nothing else is loaded from there,
    the script itself least of all."""
    asked: list[str] = []

    def serve(name: str) -> Callable[[Request], Response]:
        script = (fresh_build() / f"{name}.js").read_text("utf-8")

        def answer(_request: Request) -> Response:
            asked.append(name)
            return Response(script, media_type="text/javascript")

        return answer

    build = read_build(fresh_build())
    for name in ("i", "f"):
        address = versioned_path("/fresh/t.js", build.version, build.find_file(f"{name}.js"))
        page_server.pages[address] = serve(name)
    page.goto(serve_app(page_server, "react", site, settings='script: "/fresh/t.js", endpoint: "/x/b"'))
    page.get_by_role("button", name="consent").wait_for()
    page.evaluate("tagstitch('consent', 'all')")
    page_server.event_names_are(site, ["page_view", "fingerprint"])
    assert asked == ["i", "f"]
    loaded = page.evaluate("performance.getEntriesByType('resource').map(one => new URL(one.name).pathname)")
    assert "/fresh/t.js" not in loaded


@pytest.mark.browser
def test_the_snippet_and_the_package_are_one_tag(page: Page, page_server: PageServer, site: str) -> None:
    """On a page that has the script already, the app uses that tag: one page view, and what both say."""
    loader = f'<script src="/x/t.js" data-site="{site}" data-consent="implied" data-auto="spa"></script>'
    page.goto(serve_app(page_server, "react", site, head=loader))
    page.get_by_role("button", name="buy").click()
    page_server.event_names_are(site, ["page_view", "add_to_cart"])


def test_importing_and_calling_on_a_server_does_nothing() -> None:
    """Where there is no window, the package may be imported, started and called; nothing is kept for the next request
    and nothing keeps the process alive."""
    said = run_node(
        "--expose-gc",
        "--input-type=module",
        cwd=consumer_folder(),
        program="""
        import * as tag from "tagstitch-tag";
        if (typeof window !== "undefined") throw new Error("this is no server");
        if (tag.start({ site: "shop" }) !== tag.tagstitch) throw new Error("start gave something else");
        for (const name of Object.keys(tag)) if (name !== "start") tag[name]("track", () => {});
        gc();
        const before = process.memoryUsage().heapUsed;
        for (let i = 0; i < 400; i++) tag.track("seen", { big: "x".repeat(100000) + i });
        gc();
        if (process.memoryUsage().heapUsed - before > 20e6) throw new Error("the calls were kept");
        console.log(JSON.stringify(Object.keys(tag).sort()));
        """,
    )
    names = "alias consent group identify link on onProfile optIn optOut page profile reset start tagstitch track use"
    assert json.loads(said) == names.split()


def test_a_react_app_renders_on_a_server() -> None:
    """The recipe's component renders to nothing in react-dom/server, without touching a browser."""
    folder = consumer_folder()
    (folder / "server.tsx").write_text(
        'import { renderToString } from "react-dom/server";\n'
        'import { Tagstitch } from "./examples/react/tagstitch";\n'
        'const html = renderToString(<main><Tagstitch customer={{ id: "1", signature: "" }} /></main>);\n'
        "console.log(JSON.stringify(html));\n"
    )
    script = run_esbuild(folder / "server.tsx", platform="node")
    assert json.loads(run_node("-", program=script)) == "<main></main>"


def test_right_calls_compile_and_wrong_ones_do_not() -> None:
    """The package's types take every right call and refuse every wrong one, under the strictest options, in the
    resolution of bundlers and of node; the recipes in TypeScript compile with them."""
    folder = consumer_folder()
    sources = [str(path) for part in ("examples", "tests") for path in sorted((folder / part).glob("**/*.ts*"))]
    assert any(name.endswith("consumer.ts") for name in sources)
    for module, resolution in (("ESNext", "Bundler"), ("NodeNext", "NodeNext")):
        options = {
            "target": "ES2022",
            "lib": ["ES2022", "DOM", "DOM.Iterable"],
            "module": module,
            "moduleResolution": resolution,
            "jsx": "react-jsx",
            "strict": True,
            "exactOptionalPropertyTypes": True,
            "noUncheckedIndexedAccess": True,
            "skipLibCheck": False,
            "types": [],
            "noEmit": True,
        }
        files = sources if resolution == "Bundler" else [name for name in sources if name.endswith("consumer.ts")]
        config = folder / f"tsconfig.{resolution}.json"
        config.write_text(json.dumps({"compilerOptions": options, "files": files}))
        run_node(TAG_JS / "node_modules" / "typescript" / "bin" / "tsc", "-p", config, cwd=folder)


def test_the_package_is_whole_and_alone() -> None:
    """What npm packs is the module, its types and its description; it needs no other package, and says that importing
    it does nothing, so that bundlers may leave out what is not used."""
    folder = fresh_build()
    about = json.loads((folder / "package.json").read_text("utf-8"))
    source = json.loads((TAG_JS / "package.json").read_text("utf-8"))
    assert (about["name"], about["version"]) == (source["name"], source["version"])
    assert about["sideEffects"] is False
    assert "dependencies" not in about
    listed = {about["types"], *about["exports"]["."].values()}
    assert {f"./{name}" for name in about["files"]} == listed
    assert all((folder / name).is_file() for name in about["files"])
    types = (folder / "index.d.ts").read_text("utf-8").splitlines()
    assert not [line for line in types if re.match(r"import\b|export .* from ", line)]
