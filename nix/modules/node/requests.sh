# How the programs of a node speak with the boot server, by curl. Sourced.
#
#   request URL SECONDS LINE…  what comes back is printed; further lines are curl's (curl(1), --config), such as those of a form
#   add_fields NAME VALUE…     such lines, to `fields`
#   list_identity SYS          `identity`: by what a boot server knows this machine, names and values. SYS: /sys
#
# Nothing of it is an argument of a program, which others could read: a URL has the token of the boot.
#
# shellcheck shell=bash

request() {
  printf '%s\n' "url = \"$1\"" silent 'proto = "=http"' 'noproxy = "*"' 'connect-timeout = 5' "max-time = $2" \
    'header = "Expect:"' "${@:3}" | curl --disable --config -
}

fields=()
add_fields() {
  local value
  while [ $# -gt 0 ]; do
    value=${2//\\/\\\\}
    value=${value//$'\n'/ }
    fields+=("data-urlencode = \"$1=${value//\"/\\\"}\"")
    shift 2
  done
}

# shellcheck disable=SC2034 # whoever sources it uses it
list_identity() {
  local card name file mac macs=' '
  identity=()
  for card in "$1"/class/net/*; do
    # What has no device is no card.
    [ -e "$card/device" ] || continue
    # One of a bond shows the bond's address, and its own there.
    for file in "$card/bonding_slave/perm_hwaddr" "$card/address"; do
      if ! [ -r "$file" ] || ! read -r mac < "$file" || [[ $macs == *" $mac "* ]]; then continue; fi
      macs+="$mac "
      identity+=(mac "$mac")
    done
  done
  for name in uuid:product_uuid serial:product_serial asset:chassis_asset_tag; do
    if [ -r "$1/class/dmi/id/${name#*:}" ]; then identity+=("${name%%:*}" "$(< "$1/class/dmi/id/${name#*:}")"); fi
  done
}
