# Of follow.sh, on a machine that has its system on a disk: the next one is copied from the boot server's cache, and gets an
# entry in the boot menu that is counted (systemd's Automatic Boot Assessment). Where it does not come up, the boot loader goes
# back to the one before by itself; settle-update.sh finds that out, or that it has come up (ECP-0112).
#
# The unit says FOLLOW_STATE (the directory), FOLLOW_ESP (where the boot loader's entries are), FOLLOW_TRIES (of an entry) and
# FOLLOW_RUNNING (the system that was booted).
# shellcheck shell=bash
# shellcheck disable=SC2154 # boot, state, runs, release and answer are follow.sh's, boot_… is of node
# shellcheck disable=SC2034 # counter_file is follow-trust.sh's

readonly COPY_TRIES=3 AGAIN_SECONDS=3600
# What is left free of a file system that is written to.
readonly SPARE_BYTES=$((64 << 20)) ESP_SPARE_BYTES=$((1 << 20))

disk_state=$FOLLOW_STATE esp=$FOLLOW_ESP
# What was seen of a channel outlives a boot here.
counter_file=$disk_state/channel-counter
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

is_wanted() {
  read_installed
  [ "$boot" = disk ] && [ -n "$release" ] && [ -n "$installed" ] && [ -n "$cache" ] || return 1
  [ "$installed" != "$(readlink --canonicalize-existing "$FOLLOW_RUNNING")" ] || return 1
  ! is_tried "$installed" && ! is_unfit "$installed"
}

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
  unfit=$installed unfit_until=$((SECONDS + AGAIN_SECONDS))
  ask_assignment '&take=yes' || true
  if [ "$release" = "$release_then" ]; then tell "$1" "$2"; fi
  say "<4>stays as it is ($1): $2"
  return 1
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
  echo "${name//\//-}.efi"
}

# $1 → $kernels/$2, whole or not at all.
copy_kernel() {
  if ! cmp --silent "$1" "$kernels/$2"; then
    cp "$1" "$kernels/$2.new" && sync "$kernels/$2.new" && mv "$kernels/$2.new" "$kernels/$2"
  fi
}

# The number that the profile's next generation has.
find_generation() {
  local link number last=0 profiles=/nix/var/nix/profiles
  for link in "$profiles"/system-*-link; do
    number=${link##*/system-} number=${number%-link}
    if [[ $number =~ ^[0-9]+$ ]] && [ "$number" -gt "$last" ]; then last=$number; fi
  done
  if [ "$last" -gt 0 ] && [ "$(readlink "$profiles/system-$last-link")" = "$installed" ]; then
    echo "$last"
  else
    echo $((last + 1))
  fi
}

# A field of the entries that there are: the first of its values in their order. $2: where there is none.
find_field() {
  local found
  found=$(sed --silent "s/^$1[[:blank:]]\+//p" "$entries"/nixos-*.conf 2> /dev/null | sort | head --lines=1)
  echo "${found:-$2}"
}

# The boot loader takes the newest of all entries, those that have failed last.
write_default() {
  local conf=$esp/loader/loader.conf
  if grep --quiet --line-regexp 'default nixos-generation-\*' "$conf" 2> /dev/null; then return 0; fi
  {
    echo 'default nixos-generation-*'
    grep --invert-match '^default[[:blank:]]' "$conf" 2> /dev/null || true
  } > "$conf.new"
  sync "$conf.new"
  mv "$conf.new" "$conf"
}

# Anew for each update: what another one has left by a power cut is not kept.
write_entry() {
  local kernel initrd kernel_name initrd_name generation name version needed=0 free file id
  error="$installed is no system with a boot menu"
  kernel=$(readlink --canonicalize-existing "$installed/kernel") || return 1
  initrd=$(readlink --canonicalize-existing "$installed/initrd") || return 1
  version=$(< "$installed/nixos-version") || return 1
  id=$(< /etc/machine-id) || return 1
  kernel_name=$(name_kernel "$kernel") initrd_name=$(name_kernel "$initrd")
  mkdir -p "$entries" "$kernels"
  rm -f "$kernels"/*.new "$entries"/nixos-generation-*+*.conf "$entries"/*.new
  [ -e "$kernels/$kernel_name" ] || needed=$(stat --format=%s "$kernel")
  [ -e "$kernels/$initrd_name" ] || needed=$((needed + $(stat --format=%s "$initrd")))
  free=$(find_free "$esp")
  if [ "$free" -lt $((needed + ESP_SPARE_BYTES)) ]; then
    error="the EFI system partition has $((free >> 20)) MiB left, and $((needed >> 20)) are needed"
    return 1
  fi
  generation=$(find_generation)
  name=nixos-generation-$generation
  # Before the entry: who is booted by it is known to be on trial.
  error="$disk_state cannot be written to"
  replace_file "$disk_state/pending" "$installed $release $(< /proc/sys/kernel/random/boot_id) $name" || return 1
  error="the EFI system partition cannot be written to"
  copy_kernel "$kernel" "$kernel_name" && copy_kernel "$initrd" "$initrd_name" || return 1
  if [ -x "$installed/append-initrd-secrets" ]; then
    cp "$kernels/$initrd_name" "$kernels/$initrd_name.new" && "$installed/append-initrd-secrets" "$kernels/$initrd_name.new" \
      && sync "$kernels/$initrd_name.new" && mv "$kernels/$initrd_name.new" "$kernels/$initrd_name" || return 1
  fi
  file=$entries/$name+$FOLLOW_TRIES.conf
  {
    echo "title $(find_field title NixOS)"
    echo "version Generation $generation $version, by the boot server"
    echo "linux /EFI/nixos/$kernel_name"
    echo "initrd /EFI/nixos/$initrd_name"
    echo "options init=$installed/init $(< "$installed/kernel-params")"
    echo "machine-id $id"
    echo "sort-key $(find_field sort-key nixos)"
  } > "$file.new" && sync "$file.new" && write_default || return 1
  # The same system may have an entry by that number, which would come beside it.
  rm -f "$entries/$name.conf"
  mv "$file.new" "$file"
  sync --file-system "$esp" || return 1
  error=''
}

# The boot menu decides what is booted.
prepare() { :; }

boot_again() {
  if [ "$installed" != "$ready" ]; then
    say "does not boot now: the boot server has said $ready a moment ago, and says $installed"
    return 1
  fi
  say "boots again: $runs is followed by $release"
  if ! write_entry; then
    rm -f "$disk_state/pending"
    give_up entry "$error"
    return 1
  fi
  systemctl reboot
}
