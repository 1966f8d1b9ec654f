#!/bin/busybox sh
# The guest's first process. Makes the system usable, then does what the host asks for on a virtio port, until that
# is closed:
#   host:   SECONDS BASE64-OF-A-SCRIPT
#   guest:  STATUS LENGTH, then so many bytes of the script's output
# Busybox's shell does most of this without another program; scripts are dash's, for which `ip` is iproute2's.
export PATH=/usr/sbin:/usr/bin:/busybox

/bin/busybox --install -s /busybox
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run

for module in virtio_pci virtio_rng virtio_console virtio_net; do
  modprobe $module || echo "init: $module can't be loaded"
done

# The host chose the addresses of the cards.
for card in /sys/class/net/eth*; do
  case $(cat "$card/address") in
    *:01) ip link set "${card##*/}" name wan ;;
    *:02) ip link set "${card##*/}" name lan ;;
  esac
done
for setting in ipv4/ip_forward ipv6/conf/all/forwarding; do echo 1 >/proc/sys/net/$setting; done
for setting in ipv4/conf/all/rp_filter ipv4/conf/default/rp_filter ipv4/conf/all/send_redirects \
               ipv6/conf/all/accept_dad ipv6/conf/wan/accept_dad ipv6/conf/lan/accept_dad; do
  echo 0 >/proc/sys/net/$setting
done
for name in lo wan lan; do ip link set $name up; done

for port in /dev/vport*p1; do exec 3<>"$port"; done
echo ready >&3
while read -r seconds script <&3; do
  echo "$script" | base64 -d >/run/script
  timeout "$seconds" /bin/dash /run/script >/run/output 2>&1 </dev/null 3>&-
  echo "$? $(wc -c </run/output)" >&3
  cat /run/output >&3
done
poweroff -f
