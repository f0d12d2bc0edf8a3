# What a boot server has said on the kernel's command line (ectools/netboot/boot_files/scripts/reporting.py), for every program
# of a node that goes by it. Sourced; in stage 1 it stands before the program.
#
#   read_boot_arguments FILE   sets the variables below by the arguments in it
#
# That is text of the network's: what is not as it should be is not used, nothing is unquoted, and nothing of it is run. Of an
# argument that is there more than once the last one counts that is as it should be; of units, all do. Another file goes on
# with what the one before has left.
#
# shellcheck shell=bash
# shellcheck disable=SC2034 # whoever sources it uses it

# Regular expressions of bash: of the first there are two groups.
readonly BOOT_HOST='([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?'
readonly BOOT_SERVER="http://$BOOT_HOST(/[A-Za-z0-9._~-]+)*"
readonly BOOT_TOKEN='[A-Za-z0-9_-]{16,128}'
readonly BOOT_UNIT='[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@-]{0,254}'

# Where reports on this boot go, with its token; the part of it before /report; the token.
boot_url='' boot_server='' boot_token=''
# The release's id, the order to install, whole seconds until the boot is to be healthy, the counter of the channel.
# What the release's counter is at the least: no boot server may say it, only a system that has started this kernel.
boot_release='' boot_order='' boot_within='' boot_counter='' boot_release_counter=''
# Units that are to be up; where the image of the Nix store lies; all words but the order, as they stand, for a later boot.
boot_units=() boot_stores=() boot_words=()

read_boot_arguments() {
  local words word value units unit
  read -r -d '' -a words < "$1" || true
  for word in "${words[@]}"; do
    [[ $word == every_channel.* ]] || continue
    value=''
    if [[ $word == *=* ]]; then value=${word#*=}; fi
    case ${word%%=*} in
      every_channel.install)
        if [[ $value =~ ^[A-Za-z0-9-]{1,64}$ ]]; then boot_order=$value; fi
        continue
        ;;
      every_channel.report)
        [[ $value =~ ^($BOOT_SERVER)/report\?boot=($BOOT_TOKEN)$ ]] || continue
        boot_url=$value boot_server=${BASH_REMATCH[1]} boot_token=${BASH_REMATCH[5]}
        ;;
      every_channel.release)
        if [[ $value =~ ^[A-Za-z0-9._+-]{1,255}$ ]]; then boot_release=$value; fi
        ;;
      every_channel.healthy_within)
        if [[ $value =~ ^([0-9]{1,9})(\.[0-9]*)?$ ]]; then boot_within=$((10#${BASH_REMATCH[1]})); fi
        ;;
      every_channel.health_units)
        IFS=, read -r -a units <<< "$value"
        for unit in "${units[@]}"; do
          if [[ $unit =~ ^$BOOT_UNIT$ ]]; then boot_units+=("$unit"); fi
        done
        ;;
      every_channel.channel_counter)
        if [[ $value =~ ^[1-9][0-9]{0,15}$ ]]; then boot_counter=$value; fi
        ;;
      every_channel.release_counter)
        if [[ $value =~ ^[1-9][0-9]{0,10}$ ]]; then boot_release_counter=$value; fi
        ;;
      every_channel.store) IFS=, read -r -a boot_stores <<< "$value" ;;
    esac
    boot_words+=("$word")
  done
}
