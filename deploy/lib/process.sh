# shellcheck shell=bash
# Processes that we started, and no others: run/NAME.pid holds "pid start-time port stamp". A pid with another start
# time is somebody else's by now. The stamp stands for what the process was started with.

# read_record NAME: sets rec_pid rec_start rec_port rec_stamp.
read_record() {
  rec_pid=0 rec_start=0 rec_port=0 rec_stamp=''
  [[ -e $home/run/$1.pid ]] || return 1
  read -r rec_pid rec_start rec_port rec_stamp <"$home/run/$1.pid" || true
}

is_recorded() {
  [[ -e $home/run/$1.pid ]]
}

# Servers first, then services, then the demo's.
recorded_names() {
  local name file names=()
  for name in "${servers[@]}" "${services[@]}"; do
    for file in "$home/run/$name".pid "$home/run/$name"-[2-9].pid; do
      [[ ! -e $file ]] || names+=("$(basename "$file" .pid)")
    done
  done
  for file in "$home"/run/*.pid; do
    name=$(basename "$file" .pid)
    [[ ! -e $file ]] || is_one_of "$name" "${names[@]}" || names+=("$name")
  done
  ((${#names[@]} == 0)) || printf '%s\n' "${names[@]}"
}

# start_time PID: in ticks since the boot; fails for a process that is gone, or a zombie.
start_time() {
  local stat fields
  { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
  read -ra fields <<<"${stat##*) }" # the name before it may hold anything
  [[ ${fields[0]} != Z ]] || return 1
  echo "${fields[19]}"
}

is_running() {
  read_record "$1" && [[ $(start_time "$rec_pid") == "$rec_start" ]]
}

# claim_port NAME PORT: nobody may have it.
claim_port() {
  local line look owner="a process of another user"
  for ((look = 0; look < 50; look++)); do
    line=$(ss -Hltnp "sport = :$2")
    [[ -n $line ]] || return 0
    [[ $line != *pid=* ]] || break
    sleep 0.1 # without a pid it may be of a process that is ending
  done
  if [[ $line =~ pid=([0-9]+) ]]; then
    owner="process ${BASH_REMATCH[1]}: $(tr '\0' ' ' <"/proc/${BASH_REMATCH[1]}/cmdline" | cut -c1-120)"
  fi
  die "port $2, which $1 needs, is taken by $owner"
}

# launch NAME PORT STAMP COMMAND...: in the background, as the services' user, with its output in log/NAME.log.
launch() {
  local name=$1 port=$2 stamp=$3
  shift 3
  claim_port "$name" "$port"
  (
    me=$BASHPID
    cd "$home"
    # Before the exec, which changes neither pid nor start time: no process of ours is ever without its record.
    echo "$me $(start_time "$me") $port $stamp" >"run/$name.pid"
    exec setsid "${as_user[@]}" "$@"
  ) </dev/null >>"$home/log/$name.log" 2>&1 8>&- 9>&- &
  # Who looks from here on finds this record: not none, nor that of who was there before.
  local child=$!
  until { read_record "$name" && ((rec_pid == child)); } || ! kill -0 "$child" 2>/dev/null; do sleep 0.01; done
}

# wait_ready SECONDS NAME...
wait_ready() {
  local deadline=$((SECONDS + $1)) sign=$((SECONDS + 10)) name
  shift
  for name; do
    until is_ready "$name"; do
      sleep 0.1
      is_running "$name" || fail_with_log "$name has ended" "$home/log/$name.log"
      ((SECONDS < deadline)) || fail_with_log "$name is not ready in time" "$home/log/$name.log"
      if ((SECONDS >= sign)); then
        say "  still waiting for $name"
        sign=$((SECONDS + 10))
      fi
    done
  done
}

# stop_all NAME...: asks, asks again after 10 s (a service then ends at once), and kills after 20 s.
stop_all() {
  local left=("$@") begin=$SECONDS asked=0
  while drop_dead && ((${#left[@]})); do
    case $asked:$((SECONDS - begin)) in
      0:*) signal_left ;;
      1:1[0-9]) say "  asking again: ${left[*]}" && signal_left ;;
      2:[2-9][0-9]) say "  killing: ${left[*]}" && signal_left KILL ;;
      *) sleep 0.1 && continue ;;
    esac
    asked=$((asked + 1))
  done
}

# Removes what has ended from `left`, and its record.
drop_dead() {
  local name alive=()
  for name in "${left[@]}"; do
    if is_running "$name"; then alive+=("$name"); else rm -f "$home/run/$name.pid"; fi
  done
  left=("${alive[@]}")
}

# signal_left [SIGNAL]: Postgres takes SIGTERM as "when everybody has left".
signal_left() {
  local name signal
  for name in "${left[@]}"; do
    signal=TERM
    [[ $name != postgres ]] || signal=INT
    if is_running "$name"; then kill -s "${1:-$signal}" "$rec_pid" 2>/dev/null || true; fi
  done
}

is_ready() {
  read_record "$1" || return 1
  case ${1%-[2-9]} in
    postgres) pg_isready -q -h 127.0.0.1 -p "$rec_port" ;;
    redis) [[ $(redis-cli -p "$rec_port" ping 2>/dev/null) == PONG ]] ;;
    kafka) if [[ $BROKER == kafka ]]; then kafka_serves "$rec_port"; else is_port_open "$rec_port"; fi ;;
    ingest | processor | notifier | learner | console)
      curl -sf -m 5 -o /dev/null "http://127.0.0.1:$rec_port/readyz" ;;
    *) is_port_open "$rec_port" ;;
  esac
}

is_port_open() {
  (: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# Asks for Metadata (version 4, no topics); the fourth word of the answer counts the brokers that are not fenced.
kafka_serves() {
  local brokers
  brokers=$(
    exec 2>/dev/null 3<>"/dev/tcp/127.0.0.1/$1" || exit
    printf '\0\0\0\x0f\0\x03\0\x04\0\0\0\x01\xff\xff\0\0\0\0\0' >&3
    timeout 5 head -c 16 <&3 | od -An -j12 -N4 -tu1 | tr -d ' \n'
  ) || return 1
  [[ $brokers == 000[1-9] ]]
}
