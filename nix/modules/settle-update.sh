# What has become of an update that follow-installed.sh has begun: the system on trial has come up, or the boot loader has gone
# back to the one before (ECP-0112).
#
#   $1  look    early in a boot: whether the boot loader has gone back
#       good    ends once a system on trial is up, and the units that its report waits for
#       prove   boot-complete.target is reached: what runs is the machine's system from now on
#       watch   a system on trial for which that takes too long boots again
#
# The unit says SETTLE_UNITS (with `good`), SETTLE_ESP, SETTLE_RUNNING (the system that was booted), SETTLE_GENERATIONS (that are kept), SETTLE_SECONDS (of a
# trial), SETTLE_TRIES (of an entry), and systemd STATE_DIRECTORY. There, `pending` is the update under way: a system, its release,
# the id of the boot in which it was begun, and the name of its entry in the boot menu; `unbooted` a system that was to be booted
# and was not, and how often in a row.
set -euo pipefail
shopt -s nullglob
export LC_ALL=C SYSTEMD_COLORS=0
umask 077

readonly BAD_SYSTEMS=16 KNOWN_SYSTEMS=32
readonly PROFILE=/nix/var/nix/profiles/system

state=$STATE_DIRECTORY
entries=$SETTLE_ESP/loader/entries kernels=$SETTLE_ESP/EFI/nixos

say() { echo "every-channel-update: $*"; }

NODE_SCRIPTS=${NODE_SCRIPTS:-${BASH_SOURCE[0]%/*}/node}
# shellcheck source=node/files.sh
source "$NODE_SCRIPTS/files.sh"
# shellcheck source=node/units.sh
source "$NODE_SCRIPTS/units.sh"

system='' release='' begun='' entry='' running=''
read_pending() {
  read -r system release begun entry < "$state/pending" || true
  running=$(readlink --canonicalize-existing "$SETTLE_RUNNING")
  [[ $system == /nix/store/* && $entry == nixos-* ]]
}
is_on_trial() { [ "$system" = "$running" ]; }

# The counted entry, with what it alone has led to.
remove_entry() {
  local file line kernel
  # shellcheck disable=SC2231 # it may be a pattern
  for file in "$entries/"$entry+*.conf; do
    local named=()
    while read -r line kernel; do
      case $line in linux | initrd | devicetree) named+=("${kernel##*/}") ;; esac
    done < "$file"
    rm -f "$file"
    for kernel in "${named[@]}"; do
      if ! grep --quiet --fixed-strings -- "/$kernel" "$entries"/*.conf 2> /dev/null; then rm -f "$kernels/$kernel"; fi
    done
  done
  rm -f "$kernels"/*.new "$entries"/*.new
  sync --file-system "$SETTLE_ESP"
}

# Nobody knows what is on trial: no entry that is counted is booted any more.
forget() {
  say "<4>what an update has left cannot be read: it is taken from the boot menu, and forgotten"
  entry='nixos-*'
  remove_entry
  end_update
}

# What was begun is ended: nothing of it is on the disk from here on.
end_update() {
  rm -f "$state/next" "$state/pending" "$state/unbooted"
  sync --file-system "$state"
}

look() {
  local file tried=''
  if is_on_trial; then
    say "$system is on trial"
    return
  fi
  if [ "$begun" = "$(< /proc/sys/kernel/random/boot_id)" ]; then return; fi
  # The boot loader has counted (Boot Loader Specification, boot counting): +LEFT-DONE.
  for file in "$entries/$entry"+*-*.conf; do tried=yes; done
  if [ -n "$tried" ]; then
    say "<4>$system did not come up: the boot loader has gone back to $running"
    fall_back ''
  elif count_unbooted; then
    say "<4>$system was not booted, ${unbooted} times in a row: the firmware or the boot loader starts another (bootctl status)"
    fall_back unbooted
  else
    say "$system was not booted: the power was cut before, or somebody has chosen another"
    remove_entry
    rm -f "$state/next" "$state/pending"
    sync --file-system "$state"
  fi
}

# Who has chosen another once has not the next time; a default in the firmware's memory stays, and no trial gets past it.
unbooted=0
count_unbooted() {
  local name count
  if read -r name count < <(cat "$state/unbooted" 2> /dev/null) && [ "$name" = "$system" ] && [[ $count =~ ^[0-9]$ ]]; then
    unbooted=$count
  fi
  unbooted=$((unbooted + 1))
  if [ "$unbooted" -gt "$SETTLE_TRIES" ]; then return 0; fi
  replace_file "$state/unbooted" "$system $unbooted" || true
  return 1
}

# It is not tried again, and the boot server is told. $1: why, a word, where it is not that it did not come up.
fall_back() {
  add_line "$state/bad" "$BAD_SYSTEMS" "$system"
  replace_file "$state/fell-back" "$system $release${1:+ $1}"
  remove_entry
  end_update
}

await_units() {
  local units
  read -r -a units <<< "${SETTLE_UNITS:-}"
  if ! is_on_trial || [ ${#units[@]} -eq 0 ]; then return; fi
  while true; do
    waits=''
    if each_unit note_wait "${units[@]}" && [ -z "$waits" ]; then break; fi
    sleep 2
  done
}
waits=''
note_wait() { is_unit_up || waits+=" ${unit[Id]}"; }

prove() {
  local file
  if ! is_on_trial; then return; fi
  # As systemd-bless-boot does, which not every NixOS has. It stays the boot loader's default, by a name that NixOS's program
  # does not know, until that has written another.
  # One of the two is first.
  for file in "$entries/$entry"+*.conf; do mv "$file" "$entries/$entry.conf" || [ -e "$entries/$entry.conf" ]; done
  sync --file-system "$SETTLE_ESP"
  nix-env --profile "$PROFILE" --set "$system"
  add_line "$state/systems" "$KNOWN_SYSTEMS" "$system $release"
  nix-env --profile "$PROFILE" --delete-generations "+$SETTLE_GENERATIONS"
  # The boot menu and the boot loader itself by NixOS's own program, now that it has proven itself.
  # A power cut in it leaves this file, with which it would not begin.
  rm -f "$SETTLE_ESP/loader/loader.tmp"
  "$system/bin/switch-to-configuration" boot
  rm -f "$entries"/nixos-*.next.conf
  sync --file-system "$SETTLE_ESP"
  end_update
  say "$system has come up, and is this machine's system"
}

watch_trial() {
  if ! is_on_trial; then return; fi
  sleep "$SETTLE_SECONDS"
  if systemctl is-active --quiet boot-complete.target; then return; fi
  say "<3>$system has not reached boot-complete.target within $SETTLE_SECONDS s: boots again"
  # What hangs in the shutdown is systemd's to end (systemd.special(7), reboot.target), and ends this unit first.
  systemctl reboot || systemctl reboot --force
}

[ -e "$state/pending" ] || exit 0
if ! read_pending; then
  # Once, and not while the others begin.
  if [ "$1" = look ]; then forget; fi
  exit 0
fi
case $1 in
  look) look ;;
  good) await_units ;;
  prove) prove ;;
  watch) watch_trial ;;
esac
