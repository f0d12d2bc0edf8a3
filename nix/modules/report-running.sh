# In stage 1: tells the boot server that the kernel runs, once. BUSYBOX is one with ip, udhcpc and wget. With OWN_NETWORK it
# asks for an address first, by DHCP, on each card that has a link; as what udhcpc calls then, it has the event for $1.
set +e -u
state=/run/every-channel

case ${1:-} in
  bound)
    # By udhcpc(8) of busybox: interface, ip, mask (a prefix's length), router, dns.
    # shellcheck disable=SC2154
    "$BUSYBOX" ip address add "$ip/$mask" dev "$interface"
    for each in ${router:-}; do "$BUSYBOX" ip route add default via "$each" dev "$interface"; done
    for each in ${dns:-}; do echo "nameserver $each"; done > /etc/resolv.conf
    exit 0
    ;;
  ?*) exit 0 ;;
esac

read_boot_arguments /proc/cmdline
[ -n "$boot_url" ] || exit 0

# Here nobody else sees the arguments of a process. (A time limit of wget's own ends busybox 1.35 by a fault.)
tell() {
  "$BUSYBOX" timeout 10 "$BUSYBOX" wget -q -O /dev/null --post-data stage=running "$boot_url" 2>/dev/null || return 1
  : > "$state/running"
  exit 0
}

mkdir -p "$state"
while true; do
  if [ -z "$OWN_NETWORK" ]; then
    tell
  else
    for card in /sys/class/net/*; do
      # What has no device is no card.
      [ -e "$card/device" ] || continue
      name=${card##*/}
      "$BUSYBOX" grep -qsx "$name" "$state/report-interfaces" || echo "$name" >> "$state/report-interfaces"
      "$BUSYBOX" ip link set dev "$name" up
      # It cannot be read before the card is up.
      [ "$(cat "$card/carrier" 2>/dev/null)" = 1 ] || continue
      "$BUSYBOX" udhcpc -q -n -f -t 2 -T 2 -i "$name" -s "$0" > /dev/null 2>&1 || continue
      tell
      "$BUSYBOX" ip address flush dev "$name"
    done
  fi
  "$BUSYBOX" sleep 1
done
