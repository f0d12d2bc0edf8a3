# Of ec-install.sh: what is written to the disk that was chosen, in the order in which a power cut may end any of it.
#
# shellcheck shell=bash
# shellcheck disable=SC2154,SC2153 # plan, disk, content, the directories and the labels are ec-install.sh's, as `give_up` is

partition_disk() {
  local how=refuse
  case $content in
    empty) how=allow ;;
    foreign)
      wipefs --all --force --quiet "$disk"
      how=force
      ;;
  esac
  systemd-repart --dry-run=no --empty=$how --discard=no --no-pager --definitions="$INSTALL_DEFINITIONS" "$disk" \
    || give_up "$disk_name cannot be partitioned"
  partx --update "$disk" 2> /dev/null || true
  udevadm settle 2> /dev/null || true
  if ! root_part=$(find_partition "$ROOT_LABEL") || ! esp_part=$(find_partition "$ESP_LABEL"); then
    give_up "$disk_name has not the partitions that systemd-repart was to make"
  fi
}

# Brings the SSH host keys of the system that was here before to where they outlive the making of its file system anew.
save_host_keys() {
  local kept=$esp/every-channel/host-keys place key keys=()
  # Half of them, by a power cut: those that they are of are there still.
  rm -rf "$kept.new"
  if [ "${plan[host-keys]}" = make ]; then
    rm -rf "$kept"
  elif mount -t ext4 -o ro "$root_part" "$root" 2> /dev/null; then
    # What an installation that was cut off has left is none of a system: a file there may be empty, and what it was to have is
    # kept already.
    if [ -e "$root/$STATE/installed" ] || [ ! -d "$kept" ]; then
      for place in "${KEY_PLACES[@]}"; do
        for key in "$root/$place"/ssh_host_*_key "$root/$place"/ssh_host_*_key.pub; do
          if [ -s "$key" ]; then keys+=("$key"); fi
        done
      done
    fi
    if [ ${#keys[@]} -gt 0 ]; then
      mkdir -p "$kept.new"
      (cd "$root" && cp --parents "${keys[@]#"$root/"}" "$kept.new/")
      sync --file-system "$kept.new"
      rm -rf "$kept"
      mv "$kept.new" "$kept"
    fi
    umount "$root"
  fi
  sync --file-system "$esp"
}

# make_room: an EFI system partition that is full takes nothing of what follows. What it boots is about to go; before it is
# removed, the root file system is that of no node, so that whoever comes after a power cut installs it anew, and finds the
# host keys there alone.
make_room() {
  if [ "$(find_free "$esp")" -ge "$ESP_SPARE_BYTES" ]; then return; fi
  say "<4>the EFI system partition is full: what the system before boots from is removed"
  if mount -t ext4 "$root_part" "$root" 2> /dev/null; then
    if [ -e "$root/$STATE/installed" ]; then
      rm -rf "$esp/every-channel/host-keys"
      sync --file-system "$esp"
      rm "$root/$STATE/installed"
      sync --file-system "$root"
    fi
    umount "$root"
  fi
  clear_menu "$esp"
}

# clear_menu ESP: of the system before, its entries and kernels, and what a power cut left of its menu: that is opened as new.
clear_menu() {
  rm -rf "$1/loader/entries"/nixos-*.conf "$1/loader/loader.tmp" "$1/EFI/nixos"
  sync --file-system "$1"
}

find_free() { df --output=avail --block-size=1 "$1" | tail --lines=1; }

make_file_systems() {
  # A table that was there before has file systems in which a power cut may have left anything.
  fsck.vfat -a "$esp_part" > /dev/null 2>&1 || true
  if ! mount "$esp_part" "$esp" 2> /dev/null; then
    mkfs.vfat -n "$ESP_LABEL" "$esp_part" > /dev/null
    mount "$esp_part" "$esp"
  fi
  make_room
  # What the next partition has from now on, until it has a file system, is nobody else's.
  mkdir -p "$esp/${BEGUN%/*}"
  : > "$esp/$BEGUN"
  save_host_keys
  umount "$esp"
  mkfs.ext4 -q -F -L "$ROOT_LABEL" "$root_part"
  mount -t ext4 "$root_part" "$root"
  mkdir -m 0755 "$root/boot"
  mount -o umask=0077 "$esp_part" "$root/boot" 2> /dev/null || mount "$esp_part" "$root/boot"
  sync --file-system "$root"
  rm -f "$root/boot/$BEGUN"
}

nix_command() { nix --extra-experimental-features nix-command "$@"; }

# What the EFI system partition takes of the disk: the one that there is, or that is to be made.
find_esp_bytes() {
  local part bytes
  if [ "$content" = ours ] && part=$(find_partition "$ESP_LABEL"); then
    bytes=$(blockdev --getsize64 "$part")
  else
    bytes=$(find_wanted_esp_bytes)
  fi
  echo "$bytes"
}

find_wanted_esp_bytes() {
  local name value
  while IFS='=' read -r name value; do
    if [ "$name" = SizeMinBytes ]; then echo $((${value%M} << 20)); fi
  done < "$INSTALL_DEFINITIONS/10-esp.conf"
}

# The closure, in bytes, by what the cache says of it.
measure_closure() {
  local line esp_bytes
  line=$(nix_command path-info --store "${plan[cache]}" --closure-size "${plan[system]}") \
    || try_again "the boot server's cache does not answer"
  [[ $line =~ ([0-9]+)[[:space:]]*$ ]] || give_up "the cache does not say how large ${plan[system]} is"
  closure_bytes=${BASH_REMATCH[1]}
  esp_bytes=$(find_esp_bytes)
  if [ "$esp_bytes" -lt "$(find_wanted_esp_bytes)" ]; then
    say "<4>the EFI system partition that is there stays, with $((esp_bytes >> 20)) MiB: espMiB is for a new table of partitions"
  fi
  if [ "$disk_bytes" -lt $((esp_bytes + closure_bytes + closure_bytes / 8 + SPARE_BYTES)) ]; then
    give_up "$disk_name is too small for $((closure_bytes >> 20)) MiB of ${plan[system]} beside $((esp_bytes >> 20)) MiB to boot from"
  fi
}

# Once; what of it is there already is not copied again.
copy_once() {
  local line state=1 next=$((SECONDS + TELL_SECONDS)) used copying
  exec {copying}< <(
    if nix_command copy --from "${plan[cache]}" --to "local?root=$root" "${plan[system]}" 2>&1 < /dev/null; then
      echo "every-channel-install copied"
    fi
  )
  while true; do
    if IFS= read -r -t "$TELL_SECONDS" -u "$copying" line; then
      case $line in
        "every-channel-install copied") state=0 ;;
        *) printf '%s\n' "$line" ;;
      esac
    elif [ $? -le 128 ]; then
      break
    fi
    if [ "$SECONDS" -ge "$next" ]; then
      used=$(df --output=used --block-size=1 "$root" | tail --lines=1)
      compose copy percent "$((used * 99 / closure_bytes > 99 ? 99 : used * 99 / closure_bytes))"
      post
      next=$((SECONDS + TELL_SECONDS))
    fi
  done
  exec {copying}<&-
  return "$state"
}

copy_system() {
  local try free
  for ((try = 1; try <= COPY_TRIES; try++)); do
    if copy_once; then return; fi
    say "the closure was not copied (try $try of $COPY_TRIES)"
    sleep "$((try > 1 ? 5 : 0))"
  done
  free=$(find_free "$root")
  if [ "$free" -lt "$FULL_BYTES" ]; then
    give_up "the file system on $disk_name is full: $((free >> 20)) MiB are left for ${plan[system]}"
  fi
  give_up "${plan[system]} cannot be copied from the boot server, or is not signed by a key that this system trusts"
}

install_loader() {
  local profiles=$root/nix/var/nix/profiles
  # By others too: the system's services are to read it.
  umask 022
  mkdir -p "$root/etc" "$profiles"
  touch "$root/etc/NIXOS"
  # What makes the boot menu would take an entry of the same number for its own, and writes kernels before it removes others.
  clear_menu "$root/boot"
  nix-env --store "$root" --profile "$profiles/system" --set "${plan[system]}"
  NIXOS_INSTALL_BOOTLOADER=1 nixos-enter --root "$root" --silent --command \
    "/nix/var/nix/profiles/system/bin/switch-to-configuration boot" \
    || give_up "the boot loader of ${plan[system]} cannot be installed; the EFI system partition has $(($(find_free "$root/boot") >> 20)) MiB left"
  umask 077
}

finish_keys() {
  local kept=$root/boot/every-channel/host-keys place file keyword path
  for place in "${KEY_PLACES[@]}"; do
    for file in "$kept/$place"/ssh_host_*; do
      (umask 022 && mkdir -p "$root/$place")
      cp "$file" "$root/$place/"
      chmod "$([[ $file == *.pub ]] && echo 0644 || echo 0600)" "$root/$place/${file##*/}"
    done
  done
  # What its sshd asks for, and was not kept. A system without one asks for none.
  while read -r keyword path _; do
    if [ "$keyword" = HostKey ] && [[ $path =~ ^/[A-Za-z0-9/_.-]+/ssh_host_(rsa|ecdsa|ed25519)_key$ ]] && [ ! -e "$root$path" ]; then
      # The key itself is root's alone whatever this says.
      (umask 022 && mkdir -p "$root${path%/*}" && ssh-keygen -q -t "${BASH_REMATCH[1]}" -N '' -C '' -f "$root$path" < /dev/null)
    fi
  done < <(chroot "$root" "${plan[system]}/sw/bin/cat" "${plan[system]}/etc/ssh/sshd_config" 2> /dev/null || true)
}

# The system reports by this boot's token, once it is up. The service that does makes these files its own.
leave_report() {
  (umask 022 && mkdir -p "$root/$STATE")
  mkdir -p "$root/$STATE/report"
  replace_file "$root/$STATE/report/first-boot" "${boot_words[*]}"
  # What the system on the disk shows the boot server, and which release it came with (disk-boot.sh).
  mkdir -p "$root/$STATE/disk"
  replace_file "$root/$STATE/disk/credential" \
    "$(printf '%s %s\n' node "${plan[node]}" url "$boot_server" token "$boot_token")"
  if [ ! -e "$root/$STATE/disk/systems" ]; then
    replace_file "$root/$STATE/disk/systems" "${plan[system]} ${boot_release:-unknown}"
  fi
}

# The disk is whole from here on: whatever was before is on it.
leave_marker() {
  sync --file-system "$root"
  if mountpoint --quiet "$root/boot"; then sync --file-system "$root/boot"; fi
  replace_file "$root/$STATE/installed" \
    "$(printf '%s %s\n' node "${plan[node]}" order "${plan[order]}" system "${plan[system]}")"
  rm -rf "$root/boot/every-channel"
  umount --recursive "$root"
}
