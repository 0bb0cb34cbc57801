#!/bin/sh
# Ray calls this as `haproxy -db -f CONFIG ...` (launcher/haproxy.py). The two pages about HAProxy itself, which Ray's
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
# What HAProxy says for itself has the status that it has, and the fields of all errors and of OpenAI's: Serve's template
# says 500 for all of them, and 404 as long as it knows no backend, which is so after HAProxy was killed and for a moment
# at the start.
folder=$(dirname "$3")
say() { # status, reason, type, message, further headers
	printf 'HTTP/1.1 %s %s\r\nContent-Type: application/json\r\n%bConnection: close\r\n\r\n' "$1" "$2" "$5" >"$folder/$1.http"
	printf '{"error":{"type":"%s","message":"%s","request_id":"none","param":null,"code":"%s"}}' "$3" "$4" "$3" >>"$folder/$1.http"
}
for status in '502 Bad Gateway' '503 Service Unavailable' '504 Gateway Timeout'; do
	say "${status%% *}" "${status#* }" backend_unreachable \
		'the backend starts or has broken down; try again shortly' 'Retry-After: 1\r\n'
done
say 408 'Request Timeout' body_too_slow 'the body did not arrive within 10 s'
sed -i -e "s#errorfile \(50[234]\) .*#errorfile \1 $folder/\1.http#" \
	-e "/^backend default_backend$/,/return/s#http-request return .*#http-request return status 503 errorfile $folder/503.http#" "$3"
# Who sends by the byte does so to HAProxy, and takes no room: it passes a request on once the head and the first 15 KiB
# of the body, mostly the whole, are there. The rest has as long (BODY_S of serve_app/ingress.py). Of a head that it
# cannot read, HAProxy complains in words of its own.
sed -i "/^frontend http_frontend\$/,/^ *bind /{/^ *bind /a\\
    timeout http-request 10s\\
    option http-buffer-request\\
    errorfile 408 $folder/408.http
}" "$3"
# Beyond the room that the ingress has, a refusal by it would still cost a millisecond: HAProxy's own costs a twentieth.
backend=$(sed -n 's/^ *use_backend \([^ ]*\) if .*/\1/p' "$3" | head -n 1)
if [ -n "$backend" ] && [ -n "$MOST_IN_FLIGHT" ]; then
	sed -i "/^frontend http_frontend\$/,/^ *bind /{/^ *bind /a\\
    http-request return status 429 content-type application/json hdr Retry-After 2 string '{\"error\":{\"type\":\"overloaded\",\"message\":\"all replicas are busy and the queue is full; try again in 2 s\",\"request_id\":\"none\",\"param\":null,\"code\":\"rate_limit_exceeded\"}}' if METH_POST { be_conn($backend) ge $MOST_IN_FLIGHT }
}" "$3"
fi
exec "$BUNDLED_HAPROXY" "$@"
