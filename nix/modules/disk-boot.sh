# Tells the boot server that this machine has booted from its disk, and leaves what it answers to those who report and follow
# (ECP-0112).
#
# The unit says REPORTING (units that read the answer), DISK_RUNNING (the system that was booted), and systemd RUNTIME_DIRECTORY
# and STATE_DIRECTORY. In the latter there are, of this machine alone:
#
#   credential   lines of a name and its value: `node`, `url` (the boot server's, by what it has said last), `before` (the one that
#                it had before, until it has answered at `url`) and `token`, which is good for one boot
#   systems      a line for each system that has come with a release: its store path, and the release's id
#   pending      the same of a system on trial, and more (settle-update.sh)
#   fell-back    a system that was to be booted and did not come up, its release, and `unbooted` where nothing has started it;
#                until the boot server knows
#
# Nothing that is printed has the token, and no argument of a program.
set -euo pipefail
shopt -s nullglob
export LC_ALL=C
umask 027

readonly GIVE_UP_SECONDS=900

sys=${DISK_SYS:-/sys}
state=$STATE_DIRECTORY
answer=$RUNTIME_DIRECTORY/arguments

say() { echo "every-channel-disk-boot: $*"; }

NODE_SCRIPTS=${NODE_SCRIPTS:-${BASH_SOURCE[0]%/*}/node}
# shellcheck source=node/arguments.sh
source "$NODE_SCRIPTS/arguments.sh"
# shellcheck source=node/requests.sh
source "$NODE_SCRIPTS/requests.sh"
# shellcheck source=node/files.sh
source "$NODE_SCRIPTS/files.sh"

declare -A credential=()
read_credential() {
  local name value
  while read -r name value; do
    case $name in
      node) [[ $value =~ ^[A-Za-z0-9._-]{1,64}$ ]] || continue ;;
      url | before) [[ $value =~ ^$BOOT_SERVER$ ]] || continue ;;
      token) [[ $value =~ ^$BOOT_TOKEN$ ]] || continue ;;
      *) continue ;;
    esac
    credential[$name]=$value
  done < "$state/credential"
  for name in node url token; do [ -n "${credential[$name]:-}" ] || return 1; done
}

# The release that a system came with: the last one that it has come with.
find_release() {
  local system release found=unknown
  while read -r system release _; do
    if [ "$system" = "$1" ]; then found=$release; fi
  done < <(cat "$state/systems" "$state/pending" 2> /dev/null || true)
  echo "$found"
}

compose() {
  local running system release why
  running=$(readlink --canonicalize-existing "$DISK_RUNNING")
  fields=()
  add_fields system "$running" release "$(find_release "$running")"
  if read -r system release why < <(cat "$state/fell-back" 2> /dev/null); then
    add_fields tried-system "$system" tried-release "$release" ${why:+tried-why "$why"}
  fi
  list_identity "$sys"
  add_fields "${identity[@]}"
}

# status: what the server has answered, 000 where nobody did; text: its answer. It has been somewhere else before, and may be
# again; is_there: it has answered where it is said to be.
status='' text='' is_there=''
post() {
  local first
  is_there=yes
  post_to "${credential[url]}"
  first=$status
  if [ "$status" = 200 ] || [ -z "${credential[before]:-}" ]; then return; fi
  is_there=''
  post_to "${credential[before]}"
  # A no of the old address is nothing: somebody else may have that by now, and the new one is not up yet.
  if [ "$status" != 200 ]; then status=$first; fi
}

post_to() {
  text=$(
    request "$1/disk-boot?node=${credential[node]}&token=${credential[token]}" 20 \
      'max-filesize = 65536' 'write-out = "\n%{http_code}"' "${fields[@]}"
  ) || true
  status=${text##*$'\n'} text=${text%$'\n'*}
}

# What the boot server has said is kept before it is used: the credential that was shown ends once the next one is shown. Where
# the disk does not keep that, the one that is there is shown again, and what was to be told of this boot is told all the same.
keep_answer() {
  local name value next='' arguments=''
  while read -r name value; do
    case $name in
      credential) if [[ $value =~ ^$BOOT_TOKEN$ ]]; then next=$value; fi ;;
      arguments) arguments=$value ;;
    esac
  done <<< "$text"
  if [ -z "$next" ] || [ -z "$arguments" ]; then return 1; fi
  if [ -n "$is_there" ]; then unset 'credential[before]'; fi
  # Where it is by now, as it says of itself.
  if [[ $arguments =~ (^| )every_channel\.report=($BOOT_SERVER)/report\?boot= ]] && [ "${BASH_REMATCH[2]}" != "${credential[url]}" ]; then
    credential[before]=${credential[url]} credential[url]=${BASH_REMATCH[2]}
  fi
  if ! replace_file "$state/credential" \
    "$(printf '%s %s\n' node "${credential[node]}" url "${credential[url]}" \
      ${credential[before]:+before "${credential[before]}"} token "$next")"; then
    say "<4>the disk does not keep the next credential: the next boot shows the one that it has"
  fi
  rm -f "$state/fell-back" || say "<4>the disk does not take it that a system has not come up: it is told again"
  printf '%s\n' "$arguments" > "$answer.new" && mv "$answer.new" "$answer"
}

if ! read_credential; then
  say "<4>the credential of this disk cannot be read: nobody is told of its boots"
  exit 0
fi
pause=1
while true; do
  compose
  post
  case $status in
    200)
      if keep_answer; then break; fi
      ;;
    403)
      say "<4>the boot server does not know this disk; it is to be installed again"
      pause=$GIVE_UP_SECONDS
      ;;
    408 | 429) ;;
    4[0-9][0-9])
      say "<4>the boot server refuses what it is told ($status)"
      pause=$GIVE_UP_SECONDS
      ;;
  esac
  # By chance: nodes that have lost their server do not come back as one.
  sleep "$((pause / 2 + RANDOM % (pause + 1)))"
  pause=$((pause < 64 ? pause * 2 : pause))
done
say "${credential[node]} has booted from its disk: the boot server knows"
read -r -a units <<< "${REPORTING:-}"
for unit in "${units[@]}"; do systemctl start --no-block -- "$unit"; done
