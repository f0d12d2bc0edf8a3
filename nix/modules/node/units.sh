# How units stand, by systemd. Sourced.
#
#   each_unit COMMAND UNIT…  calls COMMAND once for each, with its properties in `unit`; 1: systemd does not say
#   is_unit_up               whether `unit` is: it is active, or has done its work, as a service does that is started once
#
# shellcheck shell=bash

declare -A unit=()

each_unit() {
  local shown line
  shown=$(
    systemctl show --no-pager \
      --property=Id,LoadState,ActiveState,Type,Result,InvocationID,ExecMainExitTimestampMonotonic -- "${@:2}"
  ) || return 1
  unit=()
  # A unit is a paragraph.
  while IFS= read -r line; do
    if [ -n "$line" ]; then
      unit[${line%%=*}]=${line#*=}
    elif [ ${#unit[@]} -gt 0 ]; then
      "$1" || true
      unit=()
    fi
  done <<< "$shown"$'\n'
}

is_unit_up() {
  case "${unit[ActiveState]:-} ${unit[Type]:-} ${unit[Result]:-}" in
    "active "*) return 0 ;;
    "inactive oneshot success") [ "${unit[ExecMainExitTimestampMonotonic]:-0}" != 0 ] ;;
    *) return 1 ;;
  esac
}
