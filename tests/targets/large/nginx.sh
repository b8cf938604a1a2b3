#!/usr/bin/env bash
# Runs a server on the loopback interface and asks it REQUESTS times, then stops it.
#     nginx.sh DIRECTORY REQUESTS
set -euo pipefail
directory=$1 requests=$2
cat >"$directory/nginx.conf" <<END
daemon off; worker_processes 1; pid $directory/pid; error_log $directory/error.log;
events {}
http {
  access_log $directory/access.log; client_body_temp_path $directory/body; proxy_temp_path $directory/proxy;
  fastcgi_temp_path $directory/fastcgi; uwsgi_temp_path $directory/uwsgi; scgi_temp_path $directory/scgi;
  gzip on; gzip_types text/plain;
  server { listen 127.0.0.1:18099; root $directory/html; }
}
END
nginx -c "$directory/nginx.conf" -p "$directory" 2>/dev/null &
server=$!
trap 'kill -QUIT $server; wait $server || true' EXIT
for ((i = 0; i < 100; i++)); do
  ! { : <>/dev/tcp/127.0.0.1/18099; } 2>/dev/null || break
  sleep 0.1
done
ab -q -k -H 'Accept-Encoding: gzip' -c 4 -n "$requests" http://127.0.0.1:18099/page.txt
