#!/usr/bin/env bash
# Runs a server and TRANSACTIONS of two clients, then stops it.
#     postgres.sh DATA TRANSACTIONS
set -euo pipefail
data=$1 transactions=$2
bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | tail -1)
socket=$(mktemp -d)
chmod 777 "$socket"
setpriv --reuid nobody --clear-groups "$bin/postgres" -D "$data" -k "$socket" -c listen_addresses= 2>"$socket/log" &
server=$!
trap 'kill -INT $server; wait $server || true; rm -r "$socket"' EXIT
for ((i = 0; i < 100; i++)); do
  ! "$bin/pg_isready" -q -h "$socket" -U postgres || break
  sleep 0.1
done
"$bin/pgbench" -q -i -s 3 -h "$socket" -U postgres postgres 2>/dev/null
"$bin/pgbench" -S -M prepared -c 2 -t "$transactions" -h "$socket" -U postgres postgres
