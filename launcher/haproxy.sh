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
# A refusal by the ingress costs a millisecond, by HAProxy a twentieth of that. So HAProxy refuses first, by the rule of
# serve_app/admission.py: beyond ROOM whoever comes, beyond SLOTS who holds more than a share of it. A client is known by
# its API key and session, else by its address, and is present for 5 s after its last request, refused or not. One that
# is alone gets ALONE, so that there is a place for whoever comes next. A refusal goes out at once, but for who was refused
# within the last 2 s, and so does not keep to Retry-After: that one takes as long. Else such clients take the processors.
backend=$(sed -n 's/^ *use_backend \([^ ]*\) if .*/\1/p' "$3" | head -n 1)
if [ -n "$backend" ] && [ -n "$ROOM" ]; then
	answer='content-type application/json hdr Retry-After 2 lf-string'
	answer="$answer '{\"error\":{\"type\":\"overloaded\",\"message\":\"%[var(txn.refused)]; try again in 2 s\",\"request_id\":\"none\",\"param\":null,\"code\":\"rate_limit_exceeded\"}}'"
	sed -i "/^frontend http_frontend\$/,/^ *bind /{/^ *bind /a\\
    timeout tarpit 2s\\
    stick-table type binary len 20 size 10k expire 5s store conn_cur,gpc0_rate(2s)\\
    http-request set-var-fmt(txn.client) '%[req.fhdr(authorization)] %[req.fhdr(x-session-id),bytes(0,64)]'\\
    http-request set-var(txn.client) src unless { req.fhdr(authorization) -m found } || { req.fhdr(x-session-id) -m found }\\
    http-request track-sc0 var(txn.client),sha1 if METH_POST\\
    http-request set-var(txn.clients) table_cnt(http_frontend)\\
    http-request set-var(txn.share) int($ROOM),div(txn.clients)\\
    http-request set-var(txn.share) int($ALONE) if { var(txn.share) -m int gt $ALONE }\\
    http-request set-var(txn.share) int(1) if { var(txn.share) -m int lt 1 }\\
    http-request set-var(txn.refused) 'str(this client has its share of a busy service)' if METH_POST { be_conn($backend) ge $SLOTS } { sc0_conn_cur,sub(txn.share) gt 0 }\\
    http-request set-var(txn.refused) 'str(all replicas are busy and the queue is full)' if METH_POST { be_conn($backend) ge $ROOM }\\
    http-request sc-inc-gpc0(0) if { var(txn.refused) -m found }\\
    http-request tarpit deny_status 429 $answer if { sc0_gpc0_rate gt 1 } { var(txn.refused) -m found }\\
    http-request return status 429 $answer if { var(txn.refused) -m found }
}" "$3"
fi
exec "$BUNDLED_HAPROXY" "$@"
