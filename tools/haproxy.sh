#!/bin/sh
# Ray calls this as `haproxy -db -f CONFIG ...` (tools/haproxy.py). The two pages about HAProxy itself, which Ray's
# template opens on every interface, are taken out of CONFIG; Ray asks HAProxy over its socket and does not miss them.
set -e
sed -i -e '/^frontend prometheus$/,/^ *no log$/d' -e '/^listen stats$/,$d' "$3"
exec "$BUNDLED_HAPROXY" "$@"
