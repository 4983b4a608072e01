#!/bin/sh
# What SSM Run Command runs on a host: sees to it that the runner is there, then lets it carry out this batch's command.
# Plain POSIX sh. The secret is never an argument of a program, because every user of the host can read those.
# Exit codes: those of `cutover-runner run`; 2, if it does not come to that.
set -eu
api_url='{{ ApiUrl }}'
batch='{{ BatchKey }}'
secret='{{ BatchSecret }}'
version='{{ RunnerVersion }}'
digest='{{ RunnerDigest }}'

runners=/opt/cutover/runner
state=/var/lib/cutover
runner=$runners/$digest/cutover-runner
tries_max=8
umask 022

say() {
  printf 'cutover: %s\n' "$*" >&2
}

fail() {
  say "$*"
  exit 2
}

# A directory of this process alone, which is gone when it ends.
work=
clean_up() {
  if [ -n "$work" ]; then
    rm -rf "$work"
    work=
  fi
}
trap clean_up EXIT
trap 'exit 2' HUP INT TERM

digest_of() {
  sha256sum <"$1" | cut -d ' ' -f 1
}

is_there() {
  [ -x "$runner" ] && [ "$(digest_of "$runner")" = "$digest" ]
}

no_room() {
  fail "cannot write to $runners ($1): free space on its disk, or make it writable, then deploy again"
}

# The tools follow no redirect themselves: old ones would take the secret along to where it leads.
choose_tool() {
  if command -v curl >/dev/null 2>&1; then
    tool=curl
  elif wget --version 2>/dev/null | grep -q '^GNU Wget 1\.'; then
    tool=wget
  elif command -v wget >/dev/null 2>&1; then
    fail "there is no curl on this host, and its wget cannot keep the secret out of the list of processes or follows" \
      "redirects with it (that takes GNU Wget 1.x): install curl, then deploy again"
  else
    fail "there is neither curl nor wget on this host: install curl, then deploy again"
  fi
}

# ask URL [secret]: asks once. Sets `code` (the tool's), `status` (000 without an answer) and `location`; the answer's
# body is in $work/runner, and what the tool complains about in $work/log.
ask() {
  code=0
  location=
  : >"$work/log"
  header=
  if [ "${2:-}" = secret ]; then header="Authorization: Bearer $secret"; fi
  case $tool in
    curl)
      answer=$(
        printf '%s\n' ${header:+"header = \"$header\""} |
          curl -q --config - --globoff --silent --show-error --proto '=http,https' --connect-timeout 10 \
            --max-time 300 --output "$work/runner" --write-out '%{http_code} %{redirect_url}' "$1" 2>"$work/log"
      ) || code=$?
      status=${answer%% *}
      location=${answer#* }
      ;;
    wget)
      printf '%s\n' ${header:+"header = $header"} >"$work/wgetrc"
      LC_ALL=C wget --config="$work/wgetrc" --max-redirect=0 --tries=1 --timeout=60 --server-response \
        --output-document="$work/runner" "$1" 2>"$work/log" || code=$?
      status=$(sed -n 's|^ *HTTP/[0-9.]* \([0-9]\{3\}\).*|\1|p' "$work/log" | tail -n 1)
      location=$(sed -n 's|^  *[Ll]ocation: *||p' "$work/log" | tail -n 1 | tr -d '\r')
      ;;
  esac
  status=${status:-000}
  case $tool$code in
    curl23 | wget3) no_room "$(tail -n 1 "$work/log")" ;;
  esac
}

# One try; leaves what has to be said about a failure in `problem`.
fetch_once() {
  ask "$api_url/cutover/v1/host/runner?batch=$batch&digest=$digest" secret
  from=$api_url
  case $status in
    301 | 302 | 303 | 307 | 308)
      case $location in
        http://* | https://*) ;;
        *) fail "$api_url leads to no address for the runner ('$location'): this is a fault of that API" ;;
      esac
      ask "$location"
      from=${location%%\?*}
      ;;
    401 | 403)
      fail "$api_url does not give the runner to this command (HTTP $status): the command came too late, or for another" \
        "host. Look at the deployment, and deploy again if this host is still without it"
      ;;
    404)
      fail "$api_url has no runner $version of the SHA-256 $digest (HTTP 404): whoever runs Cutover has to put it there"
      ;;
  esac
  if [ "$code:$status" = 0:200 ]; then return 0; fi
  problem="$from: HTTP $status, $tool ended with $code: $(grep -v '^ *$' "$work/log" | tail -n 1)"
  return 1
}

fetch() {
  choose_tool
  why=$(mkdir -p "$runners" 2>&1) || no_room "$why"
  work=$(mktemp -d "$runners/.new.XXXXXXXX" 2>&1) || { why=$work work=; no_room "$why"; }
  tries=1
  until fetch_once; do
    if [ "$tries" -ge "$tries_max" ]; then
      fail "the runner could not be fetched in $tries tries: $problem. Check that this host reaches that address (routes," \
        "security groups, DNS, certificates), then deploy again"
    fi
    sleep $((tries * 2 + $$ % 3))
    tries=$((tries + 1))
  done
  came=$(digest_of "$work/runner")
  if [ "$came" != "$digest" ]; then
    fail "the runner that came has the SHA-256 $came, and $digest was wanted: it was removed, and nothing was run. Deploy" \
      "again; if that does not help, whoever runs Cutover has to put the right runner there"
  fi
  chmod 0755 "$work/runner"
  # Whoever comes at the same time puts an equal file into the same place.
  why=$({ mkdir -p "$runners/$digest" && mv -f "$work/runner" "$runner"; } 2>&1) || no_room "$why"
  clean_up
}

# Removes runners that no command has used for 30 days, and what killed processes have left. One that runs goes on
# without its file.
remove_old() {
  find "$runners"/* -prune -type d -mtime +30 ! -name "$digest" -exec rm -rf {} + 2>/dev/null || :
  find "$runners"/.new.* -prune -type d -mtime +0 -exec rm -rf {} + 2>/dev/null || :
}

[ "$(id -u)" = 0 ] || fail "this has to run as root, and runs as $(id -un): let the SSM agent run commands as root"
command -v sha256sum >/dev/null || fail "there is no sha256sum on this host: install coreutils, then deploy again"

# From here on it counts as used, so that nobody else removes it.
touch -c "$runners/$digest" 2>/dev/null || :
if ! is_there; then fetch; fi
remove_old
says=$("$runner" --version 2>&1) ||
  fail "the runner $version does not run on this host ($(uname -sm)): $says. Is it for another kind of machine, or is" \
    "$runners on a disk that is mounted noexec?"

trap - EXIT HUP INT TERM
CUTOVER_BATCH_SECRET=$secret
export CUTOVER_BATCH_SECRET
exec "$runner" run --api "$api_url" --batch "$batch" --state "$state"
