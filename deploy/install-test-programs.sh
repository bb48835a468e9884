#!/bin/sh
# Installs the programs that the tests drive (four browsers, nginx, PHP, openssl, systemd-analyze, PostgreSQL, MariaDB, wrk)
# from Debian's packages.
# As root only; else it says what to install. Does nothing where they are there.
set -eu

packages=""
command -v chromium >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1 || packages="$packages chromium"
# Its engine without the desktop, for tests that need no more: a third of the time. Where no such package is known they
# run in the whole.
light=""
command -v chromium-headless-shell >/dev/null 2>&1 || light="chromium-headless-shell"
command -v firefox-esr >/dev/null 2>&1 || packages="$packages firefox-esr"
# WebKit as WebKitGTK ships it: the driver with its MiniBrowser, which wants a screen.
command -v WebKitWebDriver >/dev/null 2>&1 || packages="$packages webkit2gtk-driver"
command -v xvfb-run >/dev/null 2>&1 || packages="$packages xvfb"
command -v xauth >/dev/null 2>&1 || packages="$packages xauth"
# An older WebKit. The driver depends on neither its browser nor what draws for it.
command -v WPEWebDriver >/dev/null 2>&1 || packages="$packages wpewebkit-driver libwpewebkit-1.1-0 libwpebackend-fdo-1.0-1"
command -v nginx >/dev/null 2>&1 || [ -x /usr/sbin/nginx ] || packages="$packages nginx-light"
command -v systemd-analyze >/dev/null 2>&1 || packages="$packages systemd"
command -v php >/dev/null 2>&1 || packages="$packages php-cli"
command -v openssl >/dev/null 2>&1 || packages="$packages openssl"
# Databases that data adapters read from: the tests start their own.
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || packages="$packages postgresql"
[ -x /usr/sbin/mariadbd ] || packages="$packages mariadb-server"
# The generator of load behind `make bench`.
command -v wrk >/dev/null 2>&1 || packages="$packages wrk"
[ -n "$packages$light" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  [ -n "$packages" ] || exit 0
  echo "the tests need these programs: install them with  sudo apt-get install$packages  and try again" >&2
  exit 1
fi
for attempt in 1 2 3; do
  echo "installing$packages${light:+ $light} (attempt $attempt) …"
  if apt-get -o DPkg::Lock::Timeout=600 update -q >/dev/null \
    && { [ -z "$light" ] || apt-cache show "$light" >/dev/null 2>&1 || light=""; } \
    && DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y -q --no-install-recommends $packages $light >/dev/null
  then
    # Debian starts what it has installed; the tests start their own.
    for service in nginx postgresql mariadb; do
      case "$packages" in *"$service"*) [ -d /run/systemd/system ] && systemctl stop "$service" 2>/dev/null || true ;; esac
    done
    exit 0
  fi
  sleep 5
done
[ -n "$packages" ] || exit 0
echo "apt-get could not install$packages: see above" >&2
exit 1
