#!/bin/busybox sh
# The init of the demo's guest: drivers, DHCP on every NIC, then one line that says that the guest is up.
#
# Kernel command line:
#   ec.mark=WORD      what the line ends in, so that no other guest can say it
#   ec.ignore-acpi    do not listen to the power button
#   ec.poweroff       power off when up
#   ec.failed=UNIT    report this unit as one that has failed
#   ec.follow         boot again once the boot server has another release for this node
#   every_channel.…   of a boot server: where to report, and on which release
/bin/busybox mkdir -p /proc /sys /dev /tmp
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox --install -s /bin
export PATH=/bin

while read -r module; do
  insmod "/modules/$module" || echo "init: $module was not loaded"
done </modules/order

has() { grep -qw "$1" /proc/cmdline; }

# The power button comes as an input event; acpid turns it into the script in /etc/acpi.
has ec.ignore-acpi || acpid -d -l /dev/null -p /tmp/acpid.pid &

addresses=
for nic in /sys/class/net/eth*; do
  nic=${nic##*/}
  ip link set "$nic" up
  # A virtual link needs no minutes: ten tries, a second apart.
  udhcpc -n -q -t 10 -T 1 -i "$nic" -s /bin/lease >/dev/null || echo "init: no lease on $nic"
  address=$(ip -4 -o addr show dev "$nic" | sed -n 's/.* inet \([0-9.]*\).*/\1/p')
  addresses="$addresses $nic=${address:-none}"
done

mark=$(sed -n 's/.*ec\.mark=\([^ ]*\).*/\1/p' /proc/cmdline)
echo "EC-GUEST-UP $mark$addresses"

# As ec-report does it on a real node, which has units that may fail.
argument() { sed -n "s/.*$1=\([^ ]*\).*/\1/p" /proc/cmdline; }
report=$(argument 'every_channel\.report')
if [ -n "$report" ]; then
  unit=$(argument 'ec\.failed')
  verdict='healthy=yes'
  [ -z "$unit" ] || verdict="healthy=no&failed=$unit"
  fields="stage=up&$verdict&release=$(argument 'every_channel\.release')"
  wget -q -O /dev/null --post-data "$fields" "$report" || echo "init: the boot server took no report"
fi

# A real node waits for its slot first, and stops its services.
if [ -n "$report" ] && has ec.follow; then
  while sleep 2; do
    answer=$(wget -q -O - "${report%%/report*}/assignment?take=yes&boot=${report#*boot=}") || continue
    runs=$(echo "$answer" | sed -n 's/^runs=//p')
    next=$(echo "$answer" | sed -n 's/^release=//p')
    case $answer in *boot=network*) ;; *) continue ;; esac
    [ -z "$next" ] || [ "$next" = "$runs" ] || reboot -f
  done
fi

has ec.poweroff && poweroff -f
# Process 1 must not end: that is a kernel panic.
while :; do sleep 3600; done
