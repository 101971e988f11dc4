# shellcheck shell=bash
# One stack: its home, its user, its ports, and the settings that it was started with.

# What a name adds to TOCSIN_PORT_BASE, and its port without one.
declare -A port_offset=([ingest]=0 [console]=1 [processor]=2 [notifier]=3 [learner]=4
  [postgres]=5 [redis]=6 [kafka]=7 [controller]=8 [fakes]=10)
declare -A port_default=([ingest]=9000 [console]=8000 [processor]=9101 [notifier]=9102 [learner]=9103
  [postgres]=9205 [redis]=9206 [kafka]=9207 [controller]=9208 [fakes]=9210)

# What the running stack was started with, kept in run/stack.
PORT_BASE='' CONFIG='' BROKER='' SCHEMA=''
declare -A external=([postgres]='' [redis]='' [kafka]='') # their addresses where they are not ours

home='' as_user=()

# port_of NAME, also of processor-2.
port_of() {
  local kind=${1%-[2-9]} copy=0
  [[ $kind == "$1" ]] || copy=$((${1##*-} - 1))
  if [[ -n $PORT_BASE ]]; then
    echo $((PORT_BASE + port_offset[$kind] + 20 * copy))
  else
    echo $((port_default[$kind] + 20 * copy))
  fi
}

# Sets `home`, and `as_user`: root hands what it starts to a user of its own. When that user could not get to the
# home (below /root, say), the home lies under /var/lib instead.
find_home() {
  [[ -z $home ]] || return 0
  home=$(realpath -m "${TOCSIN_HOME:-$tree/var}")
  ((EUID == 0)) || return 0
  as_user=(setpriv --reuid=tocsin --regid=tocsin --init-groups --)
  local above=$home
  until [[ -d $above ]]; do above=$(dirname "$above"); done
  setpriv --reuid=nobody --regid=nogroup --clear-groups -- test -x "$above" ||
    home=/var/lib/tocsin-dev/$(sha256sum <<<"$home" | cut -c1-12)
}

create_home() {
  find_home
  [[ -e $home/.tocsin || -z $(ls -A "$home" 2>/dev/null) ]] ||
    die "$home has other files in it: choose another TOCSIN_HOME"
  mkdir -p "$home"/{run,log,copy,pg,redis,kafka,spool}
  touch "$home/.tocsin"
  if ((EUID == 0)); then
    # Several stacks may be created at once on one machine.
    flock /etc sh -c 'id tocsin >/dev/null 2>&1 ||
      useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin tocsin'
    chown tocsin:tocsin "$home"/{pg,redis,kafka,spool}
  fi
}

# Nothing runs in it any more.
delete_home() {
  [[ -e $home/.tocsin ]] || return 0
  rm -rf "${home:?}"/{run,log,copy,pg,redis,kafka,spool,.tocsin}
  rmdir --ignore-fail-on-non-empty "$home"
}

lock_stack() {
  exec 9>"$home/run/lock"
  flock -n 9 || { say "waiting for another deploy/dev in $home" && flock 9; }
}
unlock_stack() {
  exec 9>&-
}

# visible VARIABLE PATH: sets it to a path with that content which the user of the services can read: PATH, or a copy.
visible() {
  local copy
  printf -v "$1" %s "$2"
  ((EUID == 0)) && ! "${as_user[@]}" test -r "$2" || return 0
  copy=$home/copy/$(basename "$2")
  if ! diff -rq "$2" "$copy" >/dev/null 2>&1; then
    rm -rf "$copy" "$copy.new"
    cp -rL "$2" "$copy.new"
    chmod -R a+rX "$copy.new"
    mv "$copy.new" "$copy"
  fi
  printf -v "$1" %s "$copy"
}

# settle_stack BROKER, for `up`: what this call asks for, else what the stack runs with, else the defaults. Only the
# configuration may change while it runs.
settle_stack() {
  local kind
  if load_stack; then
    [[ ${TOCSIN_PORT_BASE-$PORT_BASE} == "$PORT_BASE" ]] ||
      die "the stack in $home has its ports from ${PORT_BASE:-the defaults}: deploy/dev down first"
    [[ ${1:-$BROKER} == "$BROKER" ]] || die "the stack in $home has the broker '$BROKER': deploy/dev down first"
  else
    PORT_BASE=${TOCSIN_PORT_BASE:-} BROKER=${1:-kafka} CONFIG=$tree/deploy/examples/tocsin.yml
  fi
  [[ $PORT_BASE =~ ^[0-9]*$ ]] || die "TOCSIN_PORT_BASE wants a number"
  CONFIG=$(realpath -m "${TOCSIN_CONFIG:-$CONFIG}")
  settle_server kafka "${KAFKA_BROKERS:-}" "$(own_kafka_brokers)"
  settle_server postgres "${DATABASE_URL:-}" "$(own_database_url)"
  settle_server redis "${REDIS_URL:-}" "$(own_redis_url)"
  [[ $BROKER == kafka || -z ${external[kafka]} ]] || die "--broker embedded and KAFKA_BROKERS: one of them"
}

# settle_server NAME GIVEN OWN: GIVEN is our own where the caller's shell has evaluated `deploy/dev env`.
settle_server() {
  [[ -n $2 && $2 != "$3" ]] || return 0
  ! is_recorded "$1" || die "the stack in $home has a $1 of its own: deploy/dev down first"
  external[$1]=$2
}

# Once it is known to be good, and before anything starts. It may hold a password.
save_stack() {
  touch "$home/run/stack.new"
  chmod 600 "$home/run/stack.new"
  {
    printf '%s=%q\n' PORT_BASE "$PORT_BASE" CONFIG "$CONFIG" BROKER "$BROKER" SCHEMA "$SCHEMA"
    printf 'external[%s]=%q\n' kafka "${external[kafka]}" postgres "${external[postgres]}" redis "${external[redis]}"
  } >"$home/run/stack.new"
  mv "$home/run/stack.new" "$home/run/stack"
}

load_stack() {
  find_home
  [[ -e $home/run/stack ]] || return 1
  # shellcheck source=/dev/null
  source "$home/run/stack"
}

forget_stack() {
  rm -f "$home/run/stack"
}

own_database_url() { echo "postgresql://tocsin@127.0.0.1:$(port_of postgres)/tocsin"; }
own_redis_url() { echo "redis://127.0.0.1:$(port_of redis)/0"; }
own_kafka_brokers() { echo "127.0.0.1:$(port_of kafka)"; }
database_url() { echo "${external[postgres]:-$(own_database_url)}"; }
redis_url() { echo "${external[redis]:-$(own_redis_url)}"; }
kafka_brokers() { echo "${external[kafka]:-$(own_kafka_brokers)}"; }
