# A node that follows its group: it asks the boot server that it came from what it is to boot next, takes a slot where the
# group has slots, takes its place in the rollout, starts the units that go before, and boots again (ECP-0108).
#
#   $1  a file with the kernel's command line
#
# The unit says FOLLOW_SECONDS between two questions, and FOLLOW_UNITS (names, a blank between them); on a machine that may have
# booted from its disk FOLLOW_DISK_BOOT (what disk-boot.sh leaves) and FOLLOW_INSTALLED (follow-installed.sh). Nothing that is
# printed has the token of the boot, and no argument of a program.
set -euo pipefail
export LC_ALL=C SYSTEMD_COLORS=0

readonly DOWN_SECONDS=600

url='' token=''
read -r -a units <<< "$FOLLOW_UNITS"

# The arguments of the kernel are text of the network's: what is not as it should be is not used.
read_arguments() {
  local words word
  read -r -d '' -a words < "$1" || true
  for word in "${words[@]}"; do
    if [[ $word =~ ^every_channel\.report=(http://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*)/report\?boot=([A-Za-z0-9_-]{16,128})$ ]]; then
      url=${BASH_REMATCH[1]} token=${BASH_REMATCH[5]}
    fi
  done
}

# status: what the server has answered, 000 where nobody did; answer: its text. Further lines are curl's (curl(1), --config).
status='' answer=''
ask() {
  local text
  text=$(
    printf '%s\n' "url = \"$url$1\"" silent 'proto = "=http"' 'noproxy = "*"' 'connect-timeout = 5' 'max-time = 20' \
      'max-filesize = 65536' 'write-out = "\n%{http_code}"' "${@:2}" | curl --disable --config -
  ) || true
  status=${text##*$'\n'} answer=${text%$'\n'*}
  [ "$status" = 200 ]
}

# What the server says of this node: is_wanted where that is to boot again.
node='' group='' slots='' state='' boot='' runs='' release=''
ask_assignment() {
  local line
  ask "/assignment?boot=$token$1" || return 1
  node='' group='' slots='' state='' boot='' runs='' release=''
  while IFS= read -r line; do
    if [[ $line =~ ^(node|group|slots|state|boot|runs|release)=([A-Za-z0-9._+-]{0,255})$ ]]; then
      printf -v "${BASH_REMATCH[1]}" %s "${BASH_REMATCH[2]}"
    fi
  done <<< "$answer"
}
is_wanted() { [ "$boot" = network ] && [ -n "$release" ] && [ -n "$runs" ] && [ "$release" != "$runs" ]; }
is_up() { [ "$state" = healthy ]; }
# What goes before a slot is taken; and the boot itself, false where the machine stays as it is.
make_ready() { :; }
boot_again() { systemctl reboot; }

# By FleetLock. A group without slots needs none.
lock() {
  [ -n "$slots" ] || return 0
  ask "/v1/$1" 'header = "fleet-lock-protocol: true"' \
    "data = \"{\\\"client_params\\\": {\\\"id\\\": \\\"$node\\\", \\\"group\\\": \\\"$group\\\"}}\""
}

start_units() {
  local unit
  for unit in "${units[@]}"; do
    systemctl start -- "$unit" || {
      say "<4>$unit has failed: this node does not boot again now"
      return 1
    }
  done
}

# Once, until there is something else to be said.
said=''
say() {
  if [ "$1" != "$said" ]; then echo "${1%%[!<0-9>]*}every-channel-follow: ${1#<[0-9]>}"; fi
  said=$1
}

read_arguments "$1"
if [ -z "$url" ] && [ -r "${FOLLOW_DISK_BOOT:-}" ]; then
  read_arguments "$FOLLOW_DISK_BOOT"
  # shellcheck disable=SC1090
  . "$FOLLOW_INSTALLED"
fi
if [ -z "$url" ]; then
  echo "<4>every-channel-follow: the kernel argument every_channel.report is no address of a boot server: nobody is followed"
  exit 0
fi
is_back=''
while true; do
  sleep "$FOLLOW_SECONDS"
  if ! ask_assignment ''; then
    say "the boot server does not say what is next ($status)"
    continue
  fi
  if [ -z "$is_back" ] && is_up && lock steady-state; then is_back=yes; fi
  if ! is_wanted; then
    said=''
    continue
  fi
  if ! make_ready; then continue; fi
  if ! lock pre-reboot; then
    say "waits for a slot to boot $release ($status)"
    continue
  fi
  is_back=''
  # Somebody else may have had the wave's last place.
  if ! ask_assignment '&take=yes' || ! is_wanted || ! start_units; then
    lock steady-state || true
    continue
  fi
  say "boots again: $runs is followed by $release"
  if ! boot_again; then
    lock steady-state || true
    continue
  fi
  sleep "$DOWN_SECONDS"
done
