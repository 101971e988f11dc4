# shellcheck shell=bash
# PostgreSQL, Redis and Apache Kafka on loopback, without passwords, each in a directory of the home. A data
# directory is prepared beside its place and moved there whole, so that a half-finished one is never used.

# start_servers NAME...
start_servers() {
  local name
  for name; do
    is_running "$name" || "start_$name"
  done
  wait_ready 90 "$@"
}

start_postgres() {
  local data=$home/pg/data pg
  pg=$(pg_config --bindir)
  [[ -d $data ]] || step "initialising Postgres" "$home/log/postgres-init.log" init_postgres
  drop_stale_lock "$data"
  say "starting Postgres on port $(port_of postgres)"
  launch postgres "$(port_of postgres)" - "$pg/postgres" -D "$data" -p "$(port_of postgres)"
}

# The superuser has no way in: there is no socket, and the one rule for loopback is not for it.
init_postgres() {
  rm -rf "$data.new"
  cd "$home"
  "${as_user[@]}" "$pg/initdb" -D "$data.new" -U postgres --encoding=UTF8 --locale=C.UTF-8
  "${as_user[@]}" tee -a "$data.new/postgresql.conf" <<'END'
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
log_line_prefix = '%m [%p] %a '
END
  "${as_user[@]}" tee "$data.new/pg_hba.conf" <<'END'
host all tocsin 127.0.0.1/32 trust
END
  "${as_user[@]}" "$pg/postgres" --single -D "$data.new" postgres <<'END'
CREATE ROLE tocsin LOGIN CREATEDB
GRANT pg_monitor TO tocsin
CREATE DATABASE tocsin OWNER tocsin
END
  mv "$data.new" "$data"
}

# A crash leaves postmaster.pid behind, and the pid in it may belong to anybody by now. What still lives of the old
# server stands in its data directory: its backends, for the moments that they take to notice.
drop_stale_lock() {
  local n
  for ((n = 0; n < 100; n++)); do
    if [[ -z $(find /proc -mindepth 2 -maxdepth 2 -name cwd -lname "$1" 2>/dev/null) ]]; then
      rm -f "$1/postmaster.pid"
      return
    fi
    sleep 0.1
  done
  die "a Postgres that was not started here works in $1"
}

# Redis holds copies only, so it saves nothing.
start_redis() {
  say "starting Redis on port $(port_of redis)"
  launch redis "$(port_of redis)" - redis-server --bind 127.0.0.1 --port "$(port_of redis)" \
    --dir "$home/redis" --save '' --appendonly no
}

start_kafka() {
  if [[ $BROKER == embedded ]]; then
    start_embedded_broker
    return
  fi
  local jars class_path log4j=$tree/deploy/kafka/log4j2.properties data=$home/kafka/data
  fetch_kafka
  class_path=$(sed "s|^[0-9a-f]*  |$jars/|" "$tree/deploy/kafka/jars.sha256" | paste -sd:)
  visible log4j "$log4j"
  [[ -d $data ]] || step "formatting Kafka's log" "$home/log/kafka-init.log" format_kafka
  claim_port "kafka's controller" "$(port_of controller)"
  kafka_properties "$data" >"$home/run/kafka.properties"
  say "starting Kafka on port $(port_of kafka)"
  launch kafka "$(port_of kafka)" - java -Xms256m -Xmx512m "-Dlog4j2.configurationFile=$log4j" \
    -cp "$class_path" kafka.Kafka "$home/run/kafka.properties"
}

kafka_properties() {
  sed -e "s|@PORT@|$(port_of kafka)|" -e "s|@CONTROLLER_PORT@|$(port_of controller)|" -e "s|@DATA@|$1|" \
    "$tree/deploy/kafka/server.properties"
}

# Sets `jars`: a cache that all checkouts share, checked each time before it is run.
fetch_kafka() {
  local cache=/var/cache/tocsin # of root: where the services' user can read
  ((EUID == 0)) || cache=${XDG_CACHE_HOME:-$HOME/.cache}/tocsin
  jars=$cache/kafka-$(sha256sum <"$tree/deploy/kafka/jars.sha256" | cut -c1-12)
  if ! check_jars "$jars" >/dev/null 2>&1; then
    mkdir -p "$cache"
    (
      flock 8 # several stacks may start on one machine
      check_jars "$jars" >/dev/null 2>&1 ||
        step "fetching Apache Kafka from Maven Central" "$home/log/kafka-fetch.log" fetch_jars
    ) 8>"$jars.lock"
  fi
}

check_jars() (
  cd "$1" && sha256sum --quiet -c "$tree/deploy/kafka/jars.sha256"
)

fetch_jars() {
  local new
  new=$(mktemp -d "$jars.XXXXXX")
  chmod 755 "$new"
  mvn -B -f "$tree/deploy/kafka/pom.xml" dependency:copy-dependencies -DoutputDirectory="$new"
  check_jars "$new"
  rm -rf "$jars"
  mv -T "$new" "$jars"
}

format_kafka() {
  rm -rf "$data.new"
  kafka_properties "$data.new" >"$home/run/kafka-format.properties"
  "${as_user[@]}" java "-Dlog4j2.configurationFile=$log4j" -cp "$class_path" kafka.tools.StorageTool format \
    "--cluster-id=$(head -c16 /dev/urandom | base64 | tr '+/' '-_' | cut -c1-22)" -c "$home/run/kafka-format.properties"
  mv "$data.new" "$data"
}

# What it holds dies with it, so that each start gets a schema of its own.
start_embedded_broker() {
  local program
  say "starting the embedded broker on port $(port_of kafka): nothing outlives it, and it keeps 5 MiB a partition"
  visible program "$bin/tests/broker/tocsin-mock-broker"
  SCHEMA=embedded_$(date +%Y%m%d_%H%M%S_%3N)
  save_stack
  launch kafka "$(port_of kafka)" - "$program" --port "$(port_of kafka)"
}
