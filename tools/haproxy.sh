#!/bin/sh
# Ray calls this as `haproxy -db -f CONFIG ...` (tools/haproxy.py). The two pages about HAProxy itself, which Ray's
# template opens on every interface, are taken out of CONFIG; Ray asks HAProxy over its socket and does not miss them.
# What clients must not tell Serve is taken out of requests, as serve_app/proxy_headers.py does at Serve's own proxy.
set -e
sed -i -e '/^frontend prometheus$/,/^ *no log$/d' -e '/^listen stats$/,$d' "$3"
sed -i -e '/^frontend http_frontend$/,/^ *bind /{/^ *bind /a\
    http-request del-header x-request-timeout-seconds\
    http-request del-header x-request-disconnect-disabled\
    http-request del-header x-request-id if { req.fhdr(x-request-id) -m reg [^A-Za-z0-9._-] }\
    http-request del-header x-request-id if { req.fhdr(x-request-id),length gt 64 }
}' "$3"
exec "$BUNDLED_HAPROXY" "$@"
