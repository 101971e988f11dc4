# shellcheck shell=bash
# hide_password URL: prints URL without its password and exports that as PGPASSWORD, because the arguments of a
# process are everybody's to read. Sets the variable PG_URL.
hide_password() {
  PG_URL=$1
  if [[ $1 =~ ^(postgres(ql)?://[^:@/]*):([^@]*)@(.*)$ ]]; then
    PG_URL=${BASH_REMATCH[1]}@${BASH_REMATCH[4]}
    PGPASSWORD=$(printf '%b' "${BASH_REMATCH[3]//%/\\x}")
    export PGPASSWORD
  fi
}
