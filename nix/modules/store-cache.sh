# In stage 1, before fetch-store.sh: a scratch disk that keeps the image of the Nix store, so that the next boot loads what
# has changed alone.
#
# CACHE names the disk or partition, empty where there is none. CHUNKS, of the initrd, is how the image is cut by its content,
# a line each: how many bytes, and the beginning of their SHA-256. No chunk is trusted for what the disk says that it is: it
# only is where the bytes of a piece may be found, and each piece is held against SUMS, as if it had come over the network.
#
# The disk has two slots of one size. A release goes to the one that the release before is not in. A slot begins
# with 4 MiB for what it holds: "every-channel-store 1 GENERATION ID", where the generation is 0 until it is whole and the id
# is the image's, its chunks, and "end". The image comes after that. A machine that loses its power in between leaves a slot
# that is wrong in part, which the next boot sees.
#
# It is written to where its first MiB is empty, or is of here: slot 0 is begun before any other, so whatever else has got there
# since has left something that no text of ours has, whether or not slot 1 still looks like ours.

# It is there once its driver is.
CACHE_SECONDS=${CACHE_SECONDS:-10}

index_bytes=$((4 * 1024 * 1024))
# Where partition tables and file systems begin.
begin_bytes=$((1024 * 1024))

# What stands in a slot is somebody's text: as a number it counts only where it looks like one, or bash would run what is in it.
_number='^[1-9][0-9]{0,14}$'
_chunk='^[1-9][0-9]{0,9} [0-9a-f]{16}$'

# open_cache: `image` is the disk, and `first` the slot's first piece. 1: there is none that could be used.
open_cache() {
  local waited=0 bytes whole found
  while [ ! -e "$CACHE" ]; do
    if [ "$waited" -ge "$CACHE_SECONDS" ]; then
      say "there is no $CACHE: it goes into memory"
      return 1
    fi
    "$BUSYBOX" sleep 1
    waited=$((waited + 1))
  done
  bytes=$("$BUSYBOX" blockdev --getsize64 "$CACHE" 2>/dev/null || "$BUSYBOX" stat -L -c %s "$CACHE")
  [[ $bytes =~ $_number ]] || return 1
  slot_bytes=$((bytes / 2 / piece * piece))
  whole=$((index_bytes + (size + piece - 1) / piece * piece))
  if [ "$slot_bytes" -lt "$whole" ]; then
    say "$CACHE has $(mib "$bytes"), and $(mib $((2 * whole))) are needed: it goes into memory"
    return 1
  fi
  found=$("$BUSYBOX" sha256sum "$SUMS") && id=${found%% *}
  read_slot 0
  read_slot 1
  if ! is_blank && ! { [ -n "${slot_id[0]}" ] && is_text; }; then
    say "$CACHE holds something else, and is left alone: it goes into memory"
    return 1
  fi
  slot=0
  if [ "${slot_id[1]}" = "$id" ]; then
    slot=1
  elif [ "${slot_id[0]}" != "$id" ] && [ "${slot_generation[0]}" -gt "${slot_generation[1]}" ]; then
    slot=1
  fi
  first=$(((slot * slot_bytes + index_bytes) / piece))
  image=$CACHE
  look_at_cache
}

# is_blank: nobody has written there.
is_blank() { has_nothing_but '\000'; }

# is_text: what stands there has no other letters than an index, as no partition table and no file system has.
is_text() { has_nothing_but '\000\n 0-9a-z-'; }

# has_nothing_but LETTERS: what the disk begins with, of which all can be read.
has_nothing_but() {
  local counted
  counted=$("$BUSYBOX" dd if="$CACHE" bs="$begin_bytes" count=1 iflag=fullblock 2>/dev/null | "$BUSYBOX" wc -c) || return 1
  [ "$counted" -eq "$begin_bytes" ] || return 1
  counted=$("$BUSYBOX" dd if="$CACHE" bs="$begin_bytes" count=1 iflag=fullblock 2>/dev/null | "$BUSYBOX" tr -d "$1" | "$BUSYBOX" wc -c)
  [ "$counted" -eq 0 ]
}

# read_slot N: `slot_id`, empty where nothing of ours is there, and `slot_generation`.
read_slot() {
  local words
  slot_id[$1]='' slot_generation[$1]=0
  read -r -a words < <(read_index "$1" 128) 2>/dev/null
  [ "${words[0]:-} ${words[1]:-}" = "every-channel-store 1" ] || return
  [[ ${words[3]:-} =~ ^[0-9a-f]{64}$ ]] || return
  slot_id[$1]=${words[3]}
  [[ ${words[2]} =~ $_number ]] && slot_generation[$1]=${words[2]}
}

# read_index N BYTES: that much of what a slot begins with, less what is no text.
read_index() {
  "$BUSYBOX" dd if="$CACHE" bs=64k iflag=skip_bytes,count_bytes skip=$(($1 * slot_bytes)) count="$2" 2>/dev/null \
    | "$BUSYBOX" tr -cd '\n 0-9a-z-'
}

# write_index GENERATION: 1: it cannot be written. Its first line alone goes first, and lies in one sector: from then on the disk
# is known as ours, whatever a power cut leaves of what follows.
write_index() {
  echo "every-channel-store 1 $1 $id" \
    | "$BUSYBOX" dd of="$CACHE" bs=512 oflag=seek_bytes seek=$((slot * slot_bytes)) conv=notrunc,fsync 2>/dev/null || return 1
  { echo "every-channel-store 1 $1 $id" && "$BUSYBOX" cat "$CHUNKS" && echo end; } 2>/dev/null \
    | "$BUSYBOX" dd of="$CACHE" bs=1M oflag=seek_bytes seek=$((slot * slot_bytes)) conv=notrunc,fsync 2>/dev/null
}

# look_at_cache: `have` has each piece that is in its place already, and the others are composed from the other slot's
# chunks, as far as these go. `gaps` has what is missing of a piece then, as OFFSET:BYTES of the image.
look_at_cache() {
  local known=${slot_id[slot]} at=0 chunk source_offset kept=0 next
  local -a chunks
  local -A places
  if [ "$known" = "$id" ]; then
    say "looking at what $CACHE has of it"
    for ((next = 0; next < ${#sums[@]}; next++)); do
      is_right && have[next]=yes && kept=$((kept + 1))
    done
  fi
  [ "$known" = "$id" ] || write_index 0 || { say "$CACHE cannot be written to: it goes into memory"; return 1; }
  if [ "$kept" -lt "${#sums[@]}" ] && [ -n "${slot_id[1 - slot]}" ]; then
    say "taking over from the release before, on $CACHE"
    source_offset=$(((1 - slot) * slot_bytes + index_bytes))
    # By way of a file: from a pipe, bash reads byte by byte.
    read_index $((1 - slot)) "$index_bytes" > "$DIRECTORY/index"
    mapfile -t -s 1 chunks < "$DIRECTORY/index"
    for chunk in "${chunks[@]}"; do
      # Past the end, or no line of ours.
      [[ $chunk =~ $_chunk && $at -lt $slot_bytes ]] || break
      places[${chunk#* }]=$((source_offset + at))
      at=$((at + ${chunk% *}))
    done
    compose
  fi
  kept=0
  for ((next = 0; next < ${#sums[@]}; next++)); do
    [ -z "${have[next]:-}" ] || kept=$((kept + 1))
  done
  say "$kept of ${#sums[@]} pieces are there"
}

# compose: each piece that is not there, from `places`.
compose() {
  local index=0 offset=0 begin stop from to place length end count
  local -a runs
  mapfile -t chunks < "$CHUNKS"
  for ((next = 0; next < ${#sums[@]}; next++)); do
    find_count
    begin=$((next * piece)) stop=$((begin + count))
    # Runs of a piece that lie in one place of the other slot, or nowhere.
    runs=()
    while [ "$index" -lt "${#chunks[@]}" ]; do
      length=${chunks[index]% *}
      end=$((offset + length))
      from=$((offset > begin ? offset : begin)) to=$((end < stop ? end : stop))
      place=${places[${chunks[index]#* }]:-}
      add_run $((to - from)) "${place:+$((place + from - offset))}"
      [ "$end" -le "$stop" ] || break
      offset=$end index=$((index + 1))
      [ "$end" -lt "$stop" ] || break
    done
    [ -n "${have[next]:-}" ] || take_over "$begin"
  done
}

# add_run BYTES PLACE: to `runs`, or to the last of them, which it goes on with.
add_run() {
  local last=$((${#runs[@]} - 1)) bytes place
  if [ "$last" -ge 0 ]; then
    bytes=${runs[last]%:*} place=${runs[last]#*:}
    if [ "${place:+$((place + bytes))}" = "$2" ]; then
      runs[last]=$((bytes + $1)):$place
      return
    fi
  fi
  runs+=("$1:$2")
}

# take_over OFFSET: `runs`, to where the piece `next` is. What there is none of is in `gaps`, unless that is all of it.
take_over() {
  local at=$1 run bytes place found='' missing=''
  for run in "${runs[@]}"; do
    bytes=${run%:*} place=${run#*:}
    if [ -n "$place" ]; then
      found=yes written=yes
      "$BUSYBOX" dd if="$CACHE" of="$CACHE" bs=64k iflag=skip_bytes,count_bytes,fullblock oflag=seek_bytes \
        skip="$place" count="$bytes" seek=$((first * piece + at)) conv=notrunc 2>/dev/null || return
    else
      missing+="$at:$bytes "
    fi
    at=$((at + bytes))
  done
  [ -n "$found" ] || return
  if [ -n "$missing" ]; then
    gaps[next]=$missing
  elif is_right; then
    have[next]=yes
  fi
}

# fill_gaps URL: what is missing of the piece `next`. 1: it does not come; 2: the piece is not what it should be even so.
fill_gaps() {
  local gap offset bytes
  for gap in ${gaps[next]}; do
    offset=${gap%:*} bytes=${gap#*:}
    connect "$1" "$offset" "$bytes" || return 1
    reason=$stalled
    { "$BUSYBOX" timeout "$STALL_SECONDS" "$BUSYBOX" dd bs="$bytes" count=1 iflag=fullblock of="$DIRECTORY/piece" <&3; } 2>/dev/null
    { exec 3>&-; } 2>/dev/null
    [ "$(wc_bytes "$DIRECTORY/piece")" -eq "$bytes" ] || return 1
    "$BUSYBOX" dd if="$DIRECTORY/piece" of="$image" bs="$bytes" oflag=seek_bytes seek=$((first * piece + offset)) \
      conv=notrunc 2>/dev/null || { unkept=yes; return 1; }
    written=yes
  done
  is_right || return 2
}

# is_right: whether the piece `next` is in its place.
is_right() {
  local found count
  find_count
  found=$("$BUSYBOX" dd if="$image" bs="$piece" iflag=count_bytes,fullblock skip=$((first + next)) count="$count" 2>/dev/null \
    | "$BUSYBOX" sha256sum)
  [ "${found%% *}" = "${sums[next]}" ]
}

# close_cache: it is whole, and on the disk: whether one has taken what it was given is known once it is asked to keep it.
# 1: it has not.
close_cache() {
  local last=${slot_generation[0]}
  [ "${slot_generation[1]}" -le "$last" ] || last=${slot_generation[1]}
  [ "${slot_id[slot]}" = "$id" ] && [ "${slot_generation[slot]}" -eq "$last" ] && [ "$last" -gt 0 ] && [ -z "$written" ] && return
  write_index $((last + 1))
}

# attach: `$DIRECTORY/device` is the image as a block device, wherever it lies.
attach() {
  local device try
  for ((try = 0; try < 8; try++)); do
    device=$("$BUSYBOX" losetup -f 2>/dev/null) || return 1
    # Somebody else may have taken it since.
    "$BUSYBOX" losetup -r -o $((first * piece)) "$device" "$image" 2>/dev/null || continue
    ln -s "$device" "$DIRECTORY/device"
    return
  done
  return 1
}

