# shellcheck shell=bash
# Debian packages, looked for by what they provide: a machine may have its Node or Java from elsewhere.

# Lines of "probe package"; a probe is a command, pc:MODULE for pkg-config, or the pattern of a path.
packages_up='
gcc build-essential
cmake cmake
ninja ninja-build
pkg-config pkg-config
ccache ccache
pc:libmicrohttpd libmicrohttpd-dev
pc:rdkafka librdkafka-dev
pc:jansson libjansson-dev
pc:libpq libpq-dev
pc:hiredis libhiredis-dev
pc:libcurl libcurl4-openssl-dev
pc:yaml-0.1 libyaml-dev
pc:libcrypto libssl-dev
pc:cmocka libcmocka-dev
psql postgresql-client
redis-cli redis-tools
curl curl
jq jq
/usr/bin/python3 python3
ss iproute2
node nodejs
npm npm
'
packages_postgres='
/usr/lib/postgresql/*/bin/postgres postgresql
'
packages_redis='
redis-server redis-server
'
packages_kafka='
java default-jre-headless
mvn maven
'
packages_test='
clang clang
clang-tidy clang-tidy
clang-format clang-format
/usr/lib/llvm-14/lib/clang/*/lib/linux/libclang_rt.asan-*.a libclang-rt-14-dev
/usr/lib/llvm-14/bin/llvm-symbolizer llvm-14
pytest-3 python3-pytest
openssl openssl
/usr/lib/python3/dist-packages/jsonschema python3-jsonschema
shellcheck shellcheck
docker-compose docker-compose
prometheus prometheus
prometheus-alertmanager prometheus-alertmanager
chromium chromium
chromedriver chromium-driver
/usr/sbin/zabbix_server zabbix-server-pgsql
/usr/share/zabbix/api_jsonrpc.php zabbix-frontend-php
php php-cli
php-cgi php-cgi
'

have() {
  case $1 in
    pc:*) pkg-config --exists "${1#pc:}" 2>/dev/null ;;
    /*) compgen -G "$1" >/dev/null ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

# missing_packages up|test [BROKER]: names of packages, one per line.
missing_packages() {
  local list=$packages_up probe package
  [[ -n ${DATABASE_URL:-} ]] || list+=$packages_postgres
  [[ -n ${REDIS_URL:-} ]] || list+=$packages_redis
  [[ -n ${KAFKA_BROKERS:-} || ${2-} == embedded ]] || list+=$packages_kafka
  [[ $1 != test ]] || list+=$packages_test
  while read -r probe package; do
    [[ -z $probe ]] || have "$probe" || echo "$package"
  done <<<"$list"
}

# require_packages up|test [BROKER]: quick when nothing is missing.
require_packages() {
  local missing log
  missing=$(missing_packages "$@" | paste -sd' ')
  [[ -n $missing ]] || return 0
  command -v apt-get >/dev/null || die "not found here, by the names of Debian's packages: $missing"
  say "missing: $missing"
  log=$(mktemp)
  if ((EUID == 0)); then
    step "installing these packages" "$log" install_packages "$@"
  elif sudo -n true 2>/dev/null; then
    step "installing these packages with sudo" "$log" sudo -n "$tree/deploy/dev" packages "$@"
  else
    die "run this once and start again: sudo $tree/deploy/dev packages $*"
  fi
  rm -f "$log"
  missing=$(missing_packages "$@" | paste -sd' ')
  [[ -z $missing ]] || die "still not found after installing: $missing"
}

# install_packages up|test [BROKER]: Debian's packages start servers of their own, at once and at every boot. Not
# here; and servers that were there before are left as they are.
install_packages() {
  local packages apt=(apt-get -o DPkg::Lock::Timeout=300) units_before
  ((EUID == 0)) || die "packages: run this as root"
  mapfile -t packages < <(missing_packages "$@")
  ((${#packages[@]})) || return 0
  export DEBIAN_FRONTEND=noninteractive
  "${apt[@]}" update
  trap 'restore_file "$policy"; restore_file "$cluster_conf"' EXIT
  units_before=$(server_units)
  replace_file "$policy" '#!/bin/sh' 'exit 101'
  chmod 755 "$policy"
  if is_one_of postgresql "${packages[@]}"; then
    "${apt[@]}" install -y --no-install-recommends postgresql-common
    replace_file "$cluster_conf" 'create_main_cluster = false'
  fi
  "${apt[@]}" install -y --no-install-recommends "${packages[@]}"
  disable_units_but "$units_before"
}

policy=/usr/sbin/policy-rc.d
cluster_conf=/etc/postgresql-common/createcluster.conf

# replace_file FILE LINE...: until restore_file, which also undoes what a killed installation left.
replace_file() {
  local file=$1
  shift
  restore_file "$file"
  if [[ -e $file ]]; then mv "$file" "$file.before-tocsin"; else touch "$file.absent-before-tocsin"; fi
  printf '%s\n' "$@" >"$file"
}
restore_file() {
  [[ ! -e $1.absent-before-tocsin ]] || rm -f "$1" "$1.absent-before-tocsin"
  [[ ! -e $1.before-tocsin ]] || mv "$1.before-tocsin" "$1"
}

server_units() {
  local unit
  for unit in postgresql redis-server prometheus prometheus-node-exporter prometheus-alertmanager zabbix-server; do
    [[ ! -e /etc/init.d/$unit ]] || echo "$unit"
  done
}
disable_units_but() {
  local unit
  for unit in $(server_units); do
    grep -qx "$unit" <<<"$1" || systemctl disable "$unit" || update-rc.d "$unit" disable
  done
}
