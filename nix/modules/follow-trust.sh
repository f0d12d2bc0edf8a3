# What a node may be led to, by the keys of the release's publisher, which are in its own system: whatever the boot server
# says (ECP-0113). Sourced by follow.sh, whose `fetch` and `reason` it uses.
#
#   FOLLOW_SIGNATURE  minisign, openssh or openssl; empty: there is no key, and everything may be
#   FOLLOW_KEYS       files of public keys, a blank between them: any of them counts
#   FOLLOW_CHANNEL    a channel whose signed pointer has to lead there; empty: none
#   FOLLOW_DIRECTORY  a directory of this service's own, where what was seen is kept until the machine boots again;
#                     follow-installed.sh has it kept longer
#   FOLLOW_BOOTED     the link to the system that runs
#
# learn_own RELEASE SYSTEM     find out, signed, what runs: it has to have been done before anything is checked
# check_release RELEASE SYSTEM whether a release may be gone to. Where it may: trusted_kernel and trusted_initrds ("SHA-256
#                              bytes", of each), trusted_arguments, and trusted_installed (store paths) are what was signed;
#                              trusted_name is its counter, tag and system
# remember_release PATH NAME   that this store path's system comes with that release: its counter, tag and system
#
# Both give 0 for yes; else `reason` says why not. SYSTEM is where the files may lie, and nothing is believed of it.

readonly STATEMENT=boot-statement.txt
readonly POINTER_TYPE=application/vnd.every-channel.netboot-channel+json
readonly MAX_SIGNED=65536 MIN_RSA_BITS=2048
counter_file=${FOLLOW_DIRECTORY-}/counter
# Lines of a store path, and of the release that it came with: counter, tag, system.
releases_file=${FOLLOW_DIRECTORY-}/releases
readonly KEPT_RELEASES=16
FOLLOW_SIGNATURE=${FOLLOW_SIGNATURE-} FOLLOW_CHANNEL=${FOLLOW_CHANNEL-} FOLLOW_BOOTED=${FOLLOW_BOOTED:-/run/booted-system}

# Of what runs, once that is known; what its counter is at the least, as the system has said that started this kernel; the
# releases that were asked about it. The highest counter of the channel that was seen.
own_system='' own_tag='' own_counter=''
own_least=0 own_asked=' '
seen_counter=0
trusted_kernel='' trusted_initrds=() trusted_arguments=() trusted_installed=() trusted_name=''

# is_signed FILE SIGNATURE: by one of the keys.
is_signed() {
  local key kind text
  for key in $FOLLOW_KEYS; do
    case $FOLLOW_SIGNATURE in
      # Its line alone is a key too, as the boot server has it.
      minisign) minisign -Vq -P "$(tr -d '\r' < "$key" | grep . | tail -n 1)" -m "$1" -x "$2" ;;
      openssh)
        # The key's comment is no part of it, and names nobody (ssh-keygen(1), ALLOWED SIGNERS).
        read -r kind text _ < "$key" || true
        [[ $kind != ssh-rsa || $(ssh-keygen -l -f "$key") =~ ^([0-9]+) && ${BASH_REMATCH[1]} -ge $MIN_RSA_BITS ]] \
          && ssh-keygen -Y verify -n file -I publisher -s "$2" \
          -f <(printf 'publisher namespaces="file" %s %s\n' "$kind" "$text") < "$1"
        ;;
      openssl) is_signed_by_openssl "$key" "$1" "$2" ;;
      *) false ;;
    esac &> /dev/null && return 0
  done
  reason='is not signed by a key that this system has'
  return 1
}

is_signed_by_openssl() {
  local kind bits
  kind=$(openssl pkey -pubin -in "$1" -noout -text 2> /dev/null)
  # Of RSA-PSS openssl would check another padding, and tells it from RSA by a line alone.
  [[ $kind != *PSS* ]] || return 1
  kind=${kind%%$'\n'*}
  case $kind in
    ED25519*) openssl pkeyutl -verify -pubin -inkey "$1" -rawin -in "$2" -sigfile "$3" ;;
    'Public-Key: ('*)
      bits=${kind//[!0-9]/}
      # A curve's key has 256 to 521; what is in between is RSA, and too short.
      [ "$bits" -le 521 ] || [ "$bits" -ge "$MIN_RSA_BITS" ] || return 1
      openssl dgst -sha256 -verify "$1" -signature "$3" "$2"
      ;;
    *) return 1 ;;
  esac
}

# Nothing but printable ASCII and newlines: what bash would leave out, or take for something else, is not read at all.
is_text() { [ "$(tr -d '\n -~' < "$1" | wc -c)" = 0 ]; }

# read_statement FILE: its fields, of a statement that is signed. Every line has its place.
read_statement() {
  local lines line number=5
  reason='is signed, and no statement of a boot that is understood here'
  is_text "$1" || return 1
  mapfile -t lines < "$1"
  [[ ${lines[0]-} = 'every-channel-boot 1' ]] || return 1
  [[ ${lines[1]-} =~ ^system\ ([A-Za-z0-9][A-Za-z0-9._+-]{0,254})$ ]] && system=${BASH_REMATCH[1]} || return 1
  [[ ${lines[2]-} =~ ^architecture\ ([a-z0-9_]{1,32})$ ]] && architecture=${BASH_REMATCH[1]} || return 1
  [[ ${lines[3]-} =~ ^tag\ ([A-Za-z0-9][A-Za-z0-9._+-]{0,254})$ ]] && tag=${BASH_REMATCH[1]} || return 1
  [[ ${lines[4]-} =~ ^counter\ ([1-9][0-9]{0,10})$ ]] && counter=${BASH_REMATCH[1]} || return 1
  kernel='' initrds=() arguments=() installed=()
  for line in "${lines[@]:number}"; do
    if [[ $line =~ ^kernel\ ([0-9a-f]{64}\ [0-9]{1,11})\ [A-Za-z0-9._/-]+$ && -z $kernel ]]; then
      kernel=${BASH_REMATCH[1]}
    elif [[ $line =~ ^initrd\ ([0-9a-f]{64}\ [0-9]{1,11})\ [A-Za-z0-9._/-]+$ && ${#arguments[@]} -eq 0 ]]; then
      initrds+=("${BASH_REMATCH[1]}")
    elif [[ $line =~ ^argument\ ([!-~]+)$ && ${#installed[@]} -eq 0 ]]; then
      arguments+=("${BASH_REMATCH[1]}")
    elif [[ $line =~ ^installed\ (/nix/store/[0-9a-z]{32}-[0-9A-Za-z+._?=-]{1,211})$ ]]; then
      installed+=("${BASH_REMATCH[1]}")
    else
      return 1
    fi
  done
  [ -n "$kernel" ] && [ "${#initrds[@]}" -gt 0 ] && [ "${#arguments[@]}" -gt 0 ]
}

# fetch_statement RELEASE SYSTEM NAME: a signed statement, as FOLLOW_DIRECTORY/NAME.
fetch_statement() {
  local file=$FOLLOW_DIRECTORY/$3 suffix=sig place
  [ "$FOLLOW_SIGNATURE" != minisign ] || suffix=minisig
  # Of several systems each has a directory.
  for place in "/releases/$1" "/releases/$1/$2"; do
    reason="has no signed statement of what it boots ($STATEMENT)"
    if fetch "$place/$STATEMENT" "$file" "$MAX_SIGNED" \
      && fetch "$place/$STATEMENT.$suffix" "$file.$suffix" "$MAX_SIGNED"; then
      is_signed "$file" "$file.$suffix"
      return
    fi
  done
  return 1
}

# is_in WORD WORDS…
is_in() {
  local each
  for each in "${@:2}"; do [ "$each" != "$1" ] || return 0; done
  return 1
}

# What runs is known by its store path, which nobody but this machine's own kernel says, and a statement that names it. A system
# may have come with several releases: of those that were seen it is the newest, and the boot server, which chooses what is
# seen, does not lower it.
learn_own() {
  [ -n "$FOLLOW_SIGNATURE" ] && [[ $own_asked != *" $1 "* ]] || return 0
  look_at_own "$@" || [ -n "$own_tag" ] || return 1
  if [ "${#own_asked}" -gt 4096 ]; then own_asked=' '; fi
  own_asked+="$1 "
}

look_at_own() {
  local system architecture tag counter kernel initrds arguments installed booted
  fetch_statement "$1" "$2" own && read_statement "$FOLLOW_DIRECTORY/own" || return 1
  booted=$(readlink -f -- "$FOLLOW_BOOTED") || booted=''
  if ! is_in "init=$booted/init" "${arguments[@]}" && ! is_in "$booted" "${installed[@]}"; then
    reason="is signed, and not what runs here"
  elif [ "$counter" -lt "$own_least" ]; then
    reason="is signed as $tag, and what runs here came with a newer release"
  elif [ -n "$own_tag" ] && { [ "$system" != "$own_system" ] || [ "$counter" -le "$own_counter" ]; }; then
    return 0
  else
    remember_release "$booted" "$counter $tag $system" || {
      reason="is $tag, which cannot be kept in $releases_file"
      return 1
    }
    own_system=$system own_tag=$tag own_counter=$counter
    return 0
  fi
  return 1
}

remember_release() {
  local line kept='' lines=()
  if [ -e "$releases_file" ]; then mapfile -t lines < "$releases_file" || return 1; fi
  # Of the newest.
  for line in "${lines[@]: -$((${#lines[@]} < KEPT_RELEASES ? ${#lines[@]} : KEPT_RELEASES))}"; do
    if [ "${line%% *}" != "$1" ]; then kept+=$line$'\n'; fi
  done
  replace_file "$releases_file" "$kept$1 $2"
}

# What is kept of the system that was booted.
read_own() {
  local path counter tag system booted name='[A-Za-z0-9][A-Za-z0-9._+-]{0,254}'
  booted=$(readlink -f -- "$FOLLOW_BOOTED") && [ -e "$releases_file" ] || return 0
  while read -r path counter tag system; do
    if [ "$path" = "$booted" ] && [[ "$counter $tag $system" =~ ^[1-9][0-9]{0,10}\ $name\ $name$ ]]; then
      own_counter=$counter own_tag=$tag own_system=$system
    fi
  done < "$releases_file"
}

# read_pointer: of the channel; sets pointer_tag and withdrawn.
read_pointer() {
  local file=$FOLLOW_DIRECTORY/pointer envelope payload signature text expires counter pattern
  local base64='[A-Za-z0-9+/]+={0,2}'
  reason="the channel $FOLLOW_CHANNEL has no signed pointer here"
  fetch "/channels/$FOLLOW_CHANNEL" "$file" "$MAX_SIGNED" && is_text "$file" || return 1
  # As `ectools netboot promote` writes it, and in no other way: so there is one reading of it.
  envelope=$(< "$file")
  pattern="^\{\"payload\": \"($base64)\", \"payloadType\": \"([a-z./+-]+)\", "
  pattern+="\"signatures\": \[\{\"sig\": \"($base64)\"\}\]\}\$"
  reason="the pointer of the channel $FOLLOW_CHANNEL is none that is understood here"
  [[ $envelope =~ $pattern && ${BASH_REMATCH[2]} = "$POINTER_TYPE" ]] || return 1
  [[ $envelope =~ $pattern ]]
  payload=${BASH_REMATCH[1]} signature=${BASH_REMATCH[3]}
  base64 -d <<< "$payload" > "$file.text" 2> /dev/null || return 1
  base64 -d <<< "$signature" > "$file.signature" 2> /dev/null || return 1
  is_text "$file.text" || return 1
  # What is signed says of which kind it is (secure-systems-lab/dsse, "PAE Definition").
  {
    printf 'DSSEv1 %d %s %d ' "${#POINTER_TYPE}" "$POINTER_TYPE" "$(stat -c %s "$file.text")" && cat "$file.text"
  } > "$file.signed" || return 1
  is_signed "$file.signed" "$file.signature" || {
    reason="the pointer of the channel $FOLLOW_CHANNEL $reason"
    return 1
  }
  text=$(< "$file.text")
  pattern='^\{"channel": "([A-Za-z0-9._-]+)", "counter": ([1-9][0-9]{0,15}), "expires_at": (null|[1-9][0-9]{0,15}), '
  pattern+='"format": 1, "moved_at": [0-9]+, "sums": "[0-9a-f]{64}", "tag": "([A-Za-z0-9._+-]+)"'
  pattern+='(, "withdrawn": \[([A-Za-z0-9._+", -]*)\])?\}$'
  reason="the pointer of the channel $FOLLOW_CHANNEL is signed, and none that is understood here"
  [[ $text =~ $pattern ]] || return 1
  counter=${BASH_REMATCH[2]} expires=${BASH_REMATCH[3]} pointer_tag=${BASH_REMATCH[4]}
  read -r -a withdrawn <<< "${BASH_REMATCH[6]//[\",]/ }"
  if [ "${BASH_REMATCH[1]}" != "$FOLLOW_CHANNEL" ]; then
    reason="what is signed as the channel ${BASH_REMATCH[1]} is shown as $FOLLOW_CHANNEL"
  elif [ "$expires" != null ] && [ "$expires" -le "$(date +%s)" ]; then
    reason="the pointer of the channel $FOLLOW_CHANNEL has expired"
  elif [ "$counter" -lt "$seen_counter" ]; then
    reason="the channel $FOLLOW_CHANNEL is shown as it was: its counter is $counter, and $seen_counter was seen"
  elif [ "$counter" -gt "$seen_counter" ] && ! replace_file "$counter_file" "$counter"; then
    reason="the counter of the channel $FOLLOW_CHANNEL cannot be kept in $counter_file"
  else
    seen_counter=$counter
    return 0
  fi
  return 1
}

check_release() {
  local system architecture tag counter kernel initrds arguments installed
  local pointer_tag='' withdrawn=()
  trusted_kernel='' trusted_initrds=() trusted_arguments=() trusted_installed=() trusted_name=''
  [ -n "$FOLLOW_SIGNATURE" ] || return 0
  if [ -z "$own_tag" ]; then
    reason='nothing signed says what runs here, so nobody can tell whether another release is newer'
    return 1
  fi
  [ -z "$FOLLOW_CHANNEL" ] || read_pointer || return 1
  fetch_statement "$1" "$2" next && read_statement "$FOLLOW_DIRECTORY/next" || return 1
  if [ "$system" != "$own_system" ]; then
    reason="is signed as the system $system, and $own_system runs here"
  elif [ "$architecture" != "$(uname -m)" ]; then
    reason="is signed for another machine: $architecture"
  elif is_in "$tag" "${withdrawn[@]}"; then
    reason="$tag was withdrawn by its publisher"
  elif [ -n "$FOLLOW_CHANNEL" ] && [ "$tag" != "$pointer_tag" ]; then
    reason="is $tag, and the channel $FOLLOW_CHANNEL leads to $pointer_tag"
  elif [ "$counter" -le "$own_counter" ] && ! is_in "$own_tag" "${withdrawn[@]}"; then
    reason="is $tag, which is no newer than $own_tag, and that was not withdrawn"
  else
    trusted_kernel=$kernel trusted_initrds=("${initrds[@]}")
    trusted_arguments=("${arguments[@]}") trusted_installed=("${installed[@]}")
    trusted_name="$counter $tag $system"
    return 0
  fi
  return 1
}

# Whoever may write there could change what was looked at.
is_own_directory() {
  [ ! -L "$FOLLOW_DIRECTORY" ] && [ -d "$FOLLOW_DIRECTORY" ] && [ -O "$FOLLOW_DIRECTORY" ] \
    && [[ $(stat -c %a -- "$FOLLOW_DIRECTORY") = *[0145][0145] ]]
}

# What was seen before this service was started again, and before this kernel was: the system that started it has said so.
# A firmware's boot may have been told any number; a higher one than is true holds a node where it is, and leads it nowhere.
# $1, $2: the counter of the channel, and of the release, that it has said, or nothing.
begin_trust() {
  if [ -n "$FOLLOW_SIGNATURE$FOLLOW_KEXEC" ] && ! is_own_directory; then
    echo "<3>every-channel-follow: $FOLLOW_DIRECTORY is no directory of this service's alone: nobody is followed"
    exit 1
  fi
  [ -n "$FOLLOW_SIGNATURE" ] || return 0
  seen_counter=${1:-0} own_least=${2:-0}
  read_own
  [ -e "$counter_file" ] || return 0
  if ! [[ $(< "$counter_file") =~ ^[1-9][0-9]{0,15}$ ]]; then
    echo "<4>every-channel-follow: $counter_file cannot be read: what was seen of the channel $FOLLOW_CHANNEL is not known"
  elif [ "${BASH_REMATCH[0]}" -gt "$seen_counter" ]; then
    seen_counter=${BASH_REMATCH[0]}
  fi
}
