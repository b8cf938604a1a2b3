#!/usr/bin/env bash
# An incident to practise on: an HTTP service that calls a gRPC service, stripped, each in a container
# of its own, under load. Ends after SECONDS, or with COMMAND, and cleans up.
#
#     sudo ./run.sh [SECONDS] [COMMAND...]
#
# COMMAND finds in its environment what an engineer would: STOREFRONT and CATALOG, numbers of
# processes as the host has them; CONTAINER, the id of the storefront's container; ROOTFS, its files.
#     QUOTA=0.2    gives the storefront so many CPUs
#     PROF=FILE    puts prof into the storefront's container, as /prof, with its libraries if it has any
#     USERS=4      is how many order at the same time
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
seconds=${1:-60}
shift || true
[ "$(id -u)" = 0 ] || { echo "needs root, for namespaces and cgroups" >&2; exit 1; }
for need in go siege unshare nsenter ip; do
  command -v "$need" >/dev/null && continue
  echo "missing: $need (apt-get install golang-go golang-google-grpc-dev siege util-linux iproute2)" >&2
  exit 1
done

scene=$(mktemp -d)
started=() groups=()
clean_up() {
  trap - EXIT
  # the first process of a pid namespace takes the others with it
  [ ${#started[@]} = 0 ] || kill -9 "${started[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  for group in "${groups[@]}"; do
    for _ in $(seq 50); do rmdir "$group" 2>/dev/null && break || sleep 0.1; done
    rmdir "$(dirname "$group")" 2>/dev/null || true # docker/, if nobody else uses it
  done
  rm -rf "$scene"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

"$here/build" "$scene/bin"

# A cgroup as Docker makes them, in v2 or in each hierarchy of v1: GROUP ID
make_groups() {
  local hierarchies=(/sys/fs/cgroup) it
  [ -e /sys/fs/cgroup/cgroup.controllers ] || hierarchies=(/sys/fs/cgroup/{cpu,memory,systemd})
  for it in "${hierarchies[@]}"; do
    [ -d "$it" ] || continue
    mkdir -p "$it/docker/$1" && groups+=("$it/docker/$1") || continue
    # v2 wants its controllers handed down
    [ ! -e "$it/cgroup.subtree_control" ] ||
      echo "+cpu +memory" | tee "$it/cgroup.subtree_control" >"$it/docker/cgroup.subtree_control" || true
  done
}

limit() { # ID CPUS
  local us file
  us=$(awk "BEGIN { print int($2 * 100000) }")
  for file in /sys/fs/cgroup/{cpu/,}docker/$1; do
    [ ! -e "$file/cpu.cfs_quota_us" ] || echo "$us" >"$file/cpu.cfs_quota_us"
    [ ! -e "$file/cpu.max" ] || echo "$us 100000" >"$file/cpu.max"
  done
}

# Both containers share a network, as those of a pod do: the first one makes it.
network=()
container() { # NAME ARGUMENT...: sets pid and id
  local name=$1 root=$scene/$1 shell it
  shift
  id=$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')
  make_groups "$id"
  mkdir -p "$root/proc" "$root/tmp" "$root/sys"
  cp "$scene/bin/$name" "$root/$name"
  # shellcheck disable=SC2016 # the inner shell expands them
  "${network[@]}" bash -c '
    groups=$1 root=$2; shift 2
    for group in $groups; do echo $$ >"$group/cgroup.procs"; done
    exec unshare --mount --pid --ipc --uts --cgroup --fork --kill-child --root="$root" --mount-proc "$@"
  ' container "$(printf '%s\n' "${groups[@]}" | grep "$id" || true)" "$root" "/$name" "$@" &
  shell=$!
  started+=("$shell")
  for _ in $(seq 100); do # until it runs
    pid=$(pgrep -P "$shell" -x "$name" || true)
    [ -z "$pid" ] || break
    sleep 0.1
  done
  [ -n "$pid" ] || { echo "$name did not start" >&2; exit 1; }
  # the runtime that started a container is not in it
  for it in "${groups[@]}"; do
    [[ $it != *"$id" ]] || echo "$shell" >"${it%/docker/*}/cgroup.procs"
  done
}

# shellcheck disable=SC2016
network=(unshare --net sh -c 'ip link set lo up && exec "$@"' sh)
container catalog 127.0.0.1:9090
catalog=$pid
network=(nsenter --net --target "$catalog")
container storefront :8080 127.0.0.1:9090
storefront=$pid
if [ -n "${PROF:-}" ]; then
  cp "$PROF" "$scene/storefront/prof"
  { ldd "$PROF" 2>/dev/null | grep -o '/[^ ]*' || true; } | while read -r library; do
    mkdir -p "$scene/storefront$(dirname "$library")"
    cp -L "$library" "$scene/storefront$library"
  done
fi
[ -z "${QUOTA:-}" ] || limit "$id" "$QUOTA"

cat >"$scene/urls" <<'URLS'
http://127.0.0.1:8080/order?item=winter-coats-1204
http://127.0.0.1:8080/order?item=paper-a-lined-7
http://127.0.0.1:8080/order?item=garden-chair-sale-31
http://127.0.0.1:8080/search?q=coat
URLS
printf 'verbose = false\nlogging = false\nshow-logfile = false\n' >"$scene/siegerc"
"${network[@]}" siege --rc="$scene/siegerc" --quiet --benchmark --internet --file="$scene/urls" \
  --concurrent="${USERS:-4}" --time="$((seconds + 5))S" >"$scene/siege.log" 2>&1 &
started+=($!)
sleep 1

export STOREFRONT=$storefront CATALOG=$catalog CONTAINER=$id ROOTFS=$scene/storefront
if [ $# -gt 0 ]; then
  "$@"
  exit
fi
cat <<HINT
storefront is process $storefront, container ${id:0:12}, and listens on port 8080. For $seconds s, try

    prof why -p storefront      or -p $storefront, -p :8080, -p ${id:0:12}
    nsenter -t $storefront --mount --pid --net --cgroup --root --wd /prof why -p storefront      (with PROF=)
HINT
sleep "$seconds"
