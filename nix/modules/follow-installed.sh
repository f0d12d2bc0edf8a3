# Of follow.sh, on a machine that has its system on a disk: the next one is copied from the boot server's cache, and gets an
# entry in the boot menu that is counted (systemd's Automatic Boot Assessment), beside the one of what runs and by its name. Where it does not come up, the boot loader goes
# back to the one before by itself; settle-update.sh finds that out, or that it has come up (ECP-0112).
#
# The unit says FOLLOW_STATE (the directory), FOLLOW_ESP (where the boot loader's entries are), FOLLOW_TRIES (of an entry) and
# FOLLOW_RUNNING (the system that was booted).
# shellcheck shell=bash
# shellcheck disable=SC2154 # boot, state, runs, release, answer and token are follow.sh's, boot_… is of node
# shellcheck disable=SC2034 # counter_file and releases_file are follow-trust.sh's

readonly COPY_TRIES=3 AGAIN_SECONDS=3600 STAY_AGAIN_SECONDS=300 KNOWN_SYSTEMS=32
# What is left free of a file system that is written to.
readonly SPARE_BYTES=$((64 << 20)) ESP_SPARE_BYTES=$((1 << 20))

disk_state=$FOLLOW_STATE esp=$FOLLOW_ESP
# What was seen of a channel outlives a boot here, and with which release each system has come.
counter_file=$disk_state/channel-counter
releases_file=$disk_state/releases
entries=$esp/loader/entries kernels=$esp/EFI/nixos

installed='' cache=''
read_installed() {
  local line
  installed='' cache=''
  while IFS= read -r line; do
    if [[ $line =~ ^installed=(/nix/store/[0-9a-z]{32}-[A-Za-z0-9+._?=-]{1,211})$ ]]; then installed=${BASH_REMATCH[1]}; fi
    if [[ $line =~ ^cache=(http://[^[:space:]\"\'\\?]+)$ ]]; then cache=${BASH_REMATCH[1]}; fi
  done <<< "$answer"
}

# What has not come up is not tried again by itself, and what cannot be taken not at once.
is_tried() { grep --quiet --line-regexp --fixed-strings -- "$1" "$disk_state/bad" 2> /dev/null; }
unfit='' unfit_until=0
is_unfit() { [ "$1" = "$unfit" ] && [ "$SECONDS" -lt "$unfit_until" ]; }
# $1: seconds until it is tried again.
put_off() { unfit=$installed unfit_until=$((SECONDS + $1)); }

# again: what runs is to be booted once more.
again=''
is_wanted() {
  again=''
  read_installed
  [ "$boot" = disk ] && [ -n "$release" ] && [ -n "$installed" ] && [ -n "$cache" ] || return 1
  if runs_installed; then
    # What runs is that release's too, and nobody boots again for it.
    learn_own "$release" "$system" || true
    if [ "$release" = "$runs" ] || is_unfit "$installed"; then return 1; fi
    if has_fallen_back; then
      again=yes
      return 0
    fi
    stay || true
    return 1
  fi
  ! is_tried "$installed" && ! is_unfit "$installed" && ! is_on_trial
}
find_running() { readlink --canonicalize-existing "$FOLLOW_RUNNING"; }
runs_installed() { [ "$installed" = "$(find_running)" ]; }

# What runs has no entry as yet that is not counted, or settle-update.sh is just making it the machine's system. Where that has
# failed, it is gone on from here all the same: a newer release may be what mends it.
is_on_trial() {
  local system='' entry='' proving
  read -r system _ _ entry < <(cat "$disk_state/pending" 2> /dev/null) || true
  if [ -z "$system" ] || [ "$system" != "$(find_running)" ]; then return 1; fi
  if compgen -G "$entries/$entry+*.conf" > /dev/null; then return 0; fi
  proving=$(systemctl show --property=ActiveState --value every-channel-update-prove.service) || true
  [ "$proving" = activating ]
}

# The boot is a release's that did not come up, and no other can be said of it: one more tells of what runs by the release that
# it came with. That is another one, and nothing is left to be told of the one before: so there is no third.
has_fallen_back() {
  { [ "$state" = unhealthy ] || [ "$state" = failed ]; } \
    && [ ! -e "$disk_state/fell-back" ] && [ ! -e "$disk_state/pending" ] \
    && ! grep --quiet --line-regexp --fixed-strings -- "$installed $runs" "$disk_state/systems" 2> /dev/null \
    && grep --quiet --fixed-strings -- "$installed " "$disk_state/systems" 2> /dev/null
}

# It is trusted already, by whoever booted it.
is_trusted() { [ -n "$again" ] || check_release "$release" "$system"; }

# One that went back is up, and does not boot again: its slot is somebody else's.
is_up() { [ "$state" = healthy ] || [ "$state" = unhealthy ]; }

# $1: the step; $2: why it does not go on, or nothing.
tell() {
  fields=()
  add_fields release "$release" step "$1" ${2:+error "$2"}
  ask "/disk-update?token=$boot_token" "${fields[@]}" || true
}

# It is not taken: the boot server counts it as failed, since it has its place in the rollout.
give_up() {
  local release_then=$release
  put_off "$AGAIN_SECONDS"
  ask_assignment '&take=yes' || true
  if [ "$release" = "$release_then" ]; then tell "$1" "$2"; fi
  say "<4>stays as it is ($1): $2"
  return 1
}

# The release brings what runs already: this node takes its place in the rollout, and says so, in place of a boot.
stayed=''
stay() {
  local release_then=$release
  if [ "$release" = "$stayed" ]; then return 0; fi
  case $state in
    healthy) ;;
    # Nobody would look at it any more.
    unhealthy | failed)
      give_up same "what runs is that release's too, and its boot is $state"
      return 1
      ;;
    *) return 1 ;;
  esac
  # Nobody but its publisher says of a release that it brings what runs.
  if [ -n "$FOLLOW_SIGNATURE" ] && ! look_at_own "$release" "$system"; then
    put_off "$STAY_AGAIN_SECONDS"
    say "<4>what runs is said to be $release's too: that $reason"
    return 1
  fi
  ask_assignment '&take=yes' || return 1
  read_installed
  if [ "$boot" != disk ] || [ "$release" != "$release_then" ] || ! runs_installed; then return 1; fi
  tell same
  case $status in
    200) say "what runs is $release's too: the boot server knows" ;;
    # One of before, which knows no such step: the next boot says it.
    400) say "what runs is $release's too: the boot server does not understand that" ;;
    *)
      put_off "$STAY_AGAIN_SECONDS"
      say "<4>what runs is $release's too: the boot server does not take that ($status)"
      return 1
      ;;
  esac
  stayed=$release
  add_line "$disk_state/systems" "$KNOWN_SYSTEMS" "$installed $release"
}

find_free() { df --output=avail --block-size=1 "$1" | tail --lines=1; }

# The closure in the store, and a root for it, so that it is not collected. What of it is there already is not copied again.
error=''
copy_once() {
  local needed free said
  if ! said=$(nix --extra-experimental-features nix-command path-info --store "$cache" --closure-size "$installed" \
    --option narinfo-cache-negative-ttl 0 2>&1); then
    error="the boot server's cache has no $installed"
    return 1
  fi
  if ! [[ $said =~ ([0-9]+)[[:space:]]*$ ]]; then
    error="the cache does not say how large $installed is"
    return 1
  fi
  needed=${BASH_REMATCH[1]}
  free=$(find_free /nix/store)
  if [ "$free" -lt $((needed + SPARE_BYTES)) ] && [ ! -e "$installed" ]; then
    # It may be less that is to be copied; where it is all of it, it does not fit.
    nix-store --gc > /dev/null 2>&1 || true
  fi
  if ! said=$(
    nix-store --realise "$installed" --add-root "$disk_state/next" --indirect --option substituters "$cache" \
      --option narinfo-cache-negative-ttl 0 --option fallback false 2>&1 < /dev/null
  ); then
    error=$(printf '%s' "$said" | grep --text 'error' | tail --lines=1 | tr -c '\n -~' '?' | head --bytes=160)
    error="$installed cannot be copied, or is not signed by a key that this system trusts: $error"
    free=$(find_free /nix/store)
    if [ "$free" -lt "$SPARE_BYTES" ]; then error="the disk is full: $((free >> 20)) MiB are left for $installed"; fi
    return 1
  fi
}

# What was checked and copied; the boot server may name another one by the time that this node has its slot.
ready=''
make_ready() {
  local try
  ready=$installed
  if [ -n "$again" ]; then return 0; fi
  if [ -n "$FOLLOW_SIGNATURE" ] && ! is_in "$installed" "${trusted_installed[@]}"; then
    say "<4>does not follow to $release: $installed is not among what is signed of it"
    return 1
  fi
  if [ "$(readlink "$disk_state/next" || true)" = "$installed" ] && [ -e "$installed" ]; then return 0; fi
  tell copy
  for ((try = 1; try <= COPY_TRIES; try++)); do
    if copy_once; then return 0; fi
    sleep "$((try < COPY_TRIES ? 4 * (try - 1) : 0))"
  done
  rm -f "$disk_state/next"
  give_up copy "$error"
}

# --- the boot menu --------------------------------------------------------------------------------------------------

# The name on the EFI system partition of a file of the store, as NixOS's own program gives it.
name_kernel() {
  local name=${1#/nix/store/}
  if [[ $name == */* ]]; then name=${name%%/*}-${name##*/}; fi
  echo "$name.efi"
}

# $1 → $kernels/$2, whole or not at all.
copy_kernel() {
  if cmp --silent "$1" "$kernels/$2"; then return 0; fi
  { cp "$1" "$kernels/$2.new" || drop_new "$kernels/$2"; } && put_new "$kernels/$2"
}

# What stage 1 is to know, and the store has not, goes behind the initrd $1.
append_secrets() {
  [ -x "$installed/append-initrd-secrets" ] || return 0
  { cp "$1" "$1.new" && "$installed/append-initrd-secrets" "$1.new" || drop_new "$1"; } && put_new "$1"
}

# The number that the profile's next generation has, as a rule.
find_generation() {
  local link number last=0
  for link in /nix/var/nix/profiles/system-*-link; do
    number=${link##*/system-} number=${number%-link}
    if [[ $number =~ ^[0-9]+$ ]] && [ "$number" -gt "$last" ]; then last=$number; fi
  done
  echo $((last + 1))
}

# base: the name of the entry that has booted what runs, without its `.conf`; of several the boot loader's default, else the
# last. It is what the machine goes back to. NixOS names it by its generation, or by a sum of what is in it.
base=''
find_base() {
  local file name running init default
  base=''
  running=$(find_running) || return 1
  default=$(sed --silent 's/^default[[:blank:]]\+//p' "$esp/loader/loader.conf" 2> /dev/null | tail --lines=1)
  for file in "$entries"/nixos-*.conf; do
    name=${file##*/} name=${name%.conf}
    if [[ $name == *+* || ! -f $file ]]; then continue; fi
    init=$(sed --silent 's/^options[[:blank:]]\+\(.*[[:blank:]]\)\?init=\([^[:blank:]]*\).*/\2/p' "$file") || return 1
    if [ "$init" != "$running/init" ]; then continue; fi
    base=$name
    if [ "$default" = "$name.conf" ]; then break; fi
  done
  [ -n "$base" ]
}

# A field of the entry that the machine goes back to. $2: where that has none.
find_field() {
  local found
  found=$(sed --silent "s/^$1[[:blank:]]\+//p" "$entries/$base.conf" | head --lines=1)
  echo "${found:-$2}"
}

# Of all entries the boot loader takes the new one, and where that has failed the one before: no third one fits the pattern,
# whichever would come first in the menu. `preferred` would go before it.
write_default() {
  local conf=$esp/loader/loader.conf line="default $base.*conf" rest=''
  if grep --quiet --line-regexp --fixed-strings -- "$line" "$conf" 2> /dev/null \
    && ! grep --quiet '^preferred[[:blank:]]' "$conf"; then return 0; fi
  # 1: there is no other line.
  if [ -e "$conf" ]; then
    rest=$(grep --text --invert-match --extended-regexp '^(default|preferred)[[:blank:]]' "$conf") || [ $? -eq 1 ] || return 1
  fi
  replace_file "$conf" "$line${rest:+$'\n'$rest}"
}

# Anew for each update: what another one has left by a power cut is not kept.
clear_entries() {
  local file
  for file in "$entries"/nixos-*.next.conf; do
    # What runs may have no other name as yet.
    if [ "$file" != "$entries/$base.conf" ]; then rm -f "$file" || return 1; fi
  done
  rm -f "$kernels"/*.new "$entries"/nixos-*+*.conf "$entries"/*.new && sync --file-system "$esp"
}

# What describes the machine's hardware to its kernel, where its system brings that (hardware.deviceTree.name).
find_device_tree() {
  local found
  # Few have one, and nothing else is asked of Nix's language.
  [ -e "$installed/boot.json" ] && grep --quiet '"devicetree"[[:space:]]*:[[:space:]]*"' "$installed/boot.json" || return 0
  # shellcheck disable=SC2016 # it is Nix that reads it
  found=$(SPECIFICATION=$installed/boot.json nix --extra-experimental-features nix-command eval --impure --raw --expr 'let
    text = builtins.unsafeDiscardStringContext (builtins.readFile (builtins.getEnv "SPECIFICATION"));
  in toString ((builtins.fromJSON text)."org.nixos.systemd-boot".devicetree or "")') || return 1
  [ -z "$found" ] || readlink --canonicalize-existing "$found"
}

# Nothing of it boots any more, before it is forgotten who is on trial. Where no entry of what runs was found, nothing was
# written: what there is may be that very entry, which is still counted, or the only one.
drop_entry() {
  if [ -z "$base" ]; then return; fi
  if clear_entries; then
    rm -f "$disk_state/pending" || true
  else
    say "<3>the entry of $installed cannot be taken from the boot menu"
  fi
}

write_entry() {
  local kernel initrd device_tree id generation name version parameters size needed=0 free file boot_id text files=()
  base=''
  error="$installed is no system with a boot menu"
  kernel=$(readlink --canonicalize-existing "$installed/kernel") || return 1
  initrd=$(readlink --canonicalize-existing "$installed/initrd") || return 1
  # Not by `$(<`: where there is no such file, that ends bash 5.2, whoever looks at the status.
  version=$(cat "$installed/nixos-version") || return 1
  parameters=$(cat "$installed/kernel-params") || return 1
  boot_id=$(cat /proc/sys/kernel/random/boot_id) || return 1
  error="the device tree of $installed cannot be found: boot.json cannot be read, or names none that is there"
  device_tree=$(find_device_tree) || return 1
  files=("$kernel" "$initrd" ${device_tree:+"$device_tree"})
  error="the EFI system partition cannot be written to"
  mkdir -p "$entries" "$kernels" || return 1
  error="the boot menu has no entry of what runs, to go back to"
  find_base || return 1
  error="the EFI system partition cannot be written to"
  clear_entries || return 1
  for file in "${files[@]}"; do
    if [ -e "$kernels/$(name_kernel "$file")" ]; then continue; fi
    size=$(stat --format=%s "$file") || return 1
    needed=$((needed + size))
  done
  free=$(find_free "$esp") || return 1
  if [ "$free" -lt $((needed + ESP_SPARE_BYTES)) ]; then
    error="the EFI system partition has $((free >> 20)) MiB left, and $((needed >> 20)) are needed"
    return 1
  fi
  generation=$(find_generation)
  name=$base.next
  # Before the entry: the system is on the disk, and who is booted by it is known, and known to be on trial.
  error="the disk does not keep what is on trial: $disk_state cannot be written to"
  sync --file-system "$installed" || return 1
  [ -z "$trusted_name" ] || remember_release "$installed" "$trusted_name" || return 1
  replace_file "$disk_state/pending" "$installed $release $boot_id $name" || return 1
  error="the EFI system partition cannot be written to"
  for file in "${files[@]}"; do copy_kernel "$file" "$(name_kernel "$file")" || return 1; done
  append_secrets "$kernels/$(name_kernel "$initrd")" || return 1
  file=$entries/$name+$FOLLOW_TRIES.conf
  printf -v text '%s\n' "title $(find_field title NixOS)" "version Generation $generation $version, by the boot server" \
    "linux /EFI/nixos/$(name_kernel "$kernel")" "initrd /EFI/nixos/$(name_kernel "$initrd")" \
    "options init=$installed/init $parameters" "sort-key $(find_field sort-key nixos)"
  # The boot loader sorts by it before it looks at versions, and who has none comes first: as the other one has it, which NixOS
  # gives none where there was no /etc/machine-id yet, while it was installed.
  id=$(find_field machine-id '')
  text+=${id:+"machine-id $id"$'\n'}${device_tree:+"devicetree /EFI/nixos/$(name_kernel "$device_tree")"$'\n'}
  write_new "$file" "${text%$'\n'}" && write_default && put_new "$file" || return 1
  error=''
}

# The boot menu decides what is booted.
prepare() { :; }

boot_again() {
  if [ "$installed" != "$ready" ]; then
    say "does not boot now: the boot server has said $ready a moment ago, and says $installed"
    return 1
  fi
  if [ -n "$again" ]; then
    say "boots again: this boot is of $runs, which did not come up, and what runs is $release's"
    systemctl reboot
    return
  fi
  say "boots again: $runs is followed by $release"
  if ! write_entry; then
    drop_entry
    give_up entry "$error"
    return 1
  fi
  systemctl reboot
}
