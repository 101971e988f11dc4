# shellcheck shell=bash
# Our own programs: built, migrated for, checked, started.

# The programs only: the tests are a good half of the tree, and `deploy/dev test` builds them.
build() {
  mkdir -p "$tree/build"
  (
    flock 8 # several stacks may start from one tree
    cd "$tree"
    [[ -e $bin/build.ninja ]] || step "configuring" "$home/log/build.log" cmake --preset dev
    step "building" "$home/log/build.log" cmake --build --preset dev "-j$(nproc)" \
      --target "${services[@]/#/tocsin-}" tocsinctl tocsin-mock-broker
    if is_page_stale; then step "building the page" "$home/log/page.log" build_page; fi
  ) 8>"$tree/build/.lock"
}

is_page_stale() {
  local web=$tree/console/web
  [[ ! -e $web/dist/index.html ]] ||
    [[ -n $(find "$web" \( -name node_modules -o -name dist \) -prune -o -type f -newer "$web/dist/index.html" -print -quit) ]]
}

build_page() {
  cd "$tree/console/web"
  npm ci --no-audit --no-fund
  npm run build
  touch dist/index.html
}

# start_services NAME...: as many copies of each as `scale` says, or as there are.
start_services() {
  local name n count copies=() surplus=()
  for name; do
    count=${scale[$name]:-}
    copies+=("$name")
    for n in {2..9}; do
      if is_recorded "$name-$n" && ((n > ${count:-9})); then
        surplus+=("$name-$n")
      elif is_recorded "$name-$n" || ((n <= ${count:-1})); then
        copies+=("$name-$n")
      fi
    done
  done
  migrate
  # The embedded broker takes no orders; a topic comes to be there when somebody asks for it.
  [[ $BROKER == embedded ]] || step "creating topics" "$home/log/topics.log" create_topics
  if ((${#surplus[@]})); then say "stopping ${surplus[*]}" && stop_all "${surplus[@]}"; fi
  start_copies "${copies[@]}"
}

# start_copies NAME...: those that do not run, or run with another program or other settings.
start_copies() {
  local name program config stamp outdated=() pending=()
  local -A stamps=()
  for name; do
    stamp=$(stamp_of "$name")
    if ! is_running "$name"; then
      pending+=("$name")
    elif [[ $rec_stamp != "$stamp" ]]; then
      pending+=("$name")
      outdated+=("$name")
    fi
    stamps[$name]=$stamp
  done
  if ((${#outdated[@]})); then say "stopping what is out of date: ${outdated[*]}" && stop_all "${outdated[@]}"; fi
  if ((${#pending[@]})); then say "starting ${pending[*]}"; fi
  visible config "$CONFIG"
  for name in "${pending[@]}"; do
    visible program "$bin/tocsin-${name%-[2-9]}"
    (
      export_settings "$name"
      launch "$name" "$(port_of "$name")" "${stamps[$name]}" "$program" --config "$config"
    )
  done
  wait_ready 60 "$@"
}

# What a service is started with, in short.
stamp_of() (
  export_settings "$1"
  {
    cat "$bin/tocsin-${1%-[2-9]}" "$CONFIG"
    env | grep '^TOCSIN__' | sort
  } | sha256sum | cut -c1-16
)

# export_settings NAME: what the stack decides about the settings of a service. For a subshell.
export_settings() {
  local name web=$tree/console/web/dist
  [[ ! -e $web ]] || visible web "$web"
  for name in "${services[@]}"; do
    export "TOCSIN__${name^^}__LISTEN=127.0.0.1:$(port_of "$name")"
  done
  name=${1%-[2-9]}
  [[ -z $name ]] || export "TOCSIN__${name^^}__LISTEN=127.0.0.1:$(port_of "$1")"
  export TOCSIN__KAFKA__BROKERS TOCSIN__POSTGRES__URL TOCSIN__REDIS__URL
  TOCSIN__KAFKA__BROKERS=$(kafka_brokers)
  TOCSIN__POSTGRES__URL=$(database_url)
  TOCSIN__REDIS__URL=$(redis_url)
  export TOCSIN__INGEST__SPOOL_DIR=$home/spool
  export TOCSIN__INGEST__CONSOLE_URL
  TOCSIN__INGEST__CONSOLE_URL=http://127.0.0.1:$(port_of console)
  export TOCSIN__CONSOLE__WEB_DIR=$web
  # Where the page is, unless somebody says where it is reached from outside.
  if [[ -z ${TOCSIN__EXTERNAL_URL:-} ]] && ! grep '^external_url:' "$CONFIG" | grep -qv '//localhost:8000'; then
    export TOCSIN__EXTERNAL_URL
    TOCSIN__EXTERNAL_URL=http://localhost:$(port_of console)
  fi
  [[ -z $SCHEMA ]] || export TOCSIN__POSTGRES__SCHEMA=$SCHEMA
}

# Every service reads its configuration without starting; what is wrong with it goes to the screen.
check_configs() {
  local name
  for name; do
    (export_settings "$name" && "$bin/tocsin-$name" --config "$CONFIG" --check-config) >/dev/null ||
      die "tocsin-$name refuses $CONFIG"
  done
}

create_topics() {
  export_settings ''
  "$bin/console/ctl/tocsinctl" topics --config "$CONFIG"
}

# The schema that the services use, whoever chose it.
schema() {
  if [[ -x $bin/tocsin-processor ]]; then
    (export_settings '' && "$bin/tocsin-processor" --config "$CONFIG" --print-config) |
      sed -n 's/^postgres\.schema: "\{0,1\}\([^" ]*\).*/\1/p'
  else
    echo "${SCHEMA:-tocsin}"
  fi
}

migrate() {
  local schema url
  schema=$(schema)
  url=$(database_url)
  DATABASE_URL=$url step "migrating the schema $schema" "$home/log/migrate.log" "$tree/deploy/migrate" "$schema"
}
