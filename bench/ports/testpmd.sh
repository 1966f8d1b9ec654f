#!/bin/bash
# dpdk-testpmd (Debian: dpdk-dev) as a source of packets at full speed, or as a sink that counts them.
#   testpmd.sh send DEVICE GATEWAY-MAC FRAME-SIZE    to 10.2.0.10, in 256 flows by source address; as much as it can
#   testpmd.sh count DEVICE                          answers ARP for every address, so that the gateway finds it
# DEVICE is a PCI address, or af_packet:INTERFACE. FRAME-SIZE is with the FCS. TESTPMD is the program, EAL its options
# (default "-l 0,1"): the second core polls. Rates are printed every second; ctrl-C ends with the sums.
set -euo pipefail

usage() { sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 2; }
[ $# -ge 2 ] || usage
case "$2" in
  af_packet:*) device=(--no-pci --vdev "net_af_packet0,iface=${2#af_packet:}") ;;
  *) device=(-a "$2") ;;
esac
case "$1/$#" in
  send/4) mode=(--forward-mode=txonly --txonly-multi-flow --eth-peer="0,$3" --tx-ip=10.1.0.10,10.2.0.10
                --txpkts=$(($4 - 4))) ;;  # without the FCS
  count/2) mode=(--forward-mode=icmpecho) ;;
  *) usage ;;
esac
read -ra eal <<<"${EAL:--l 0,1}"
exec "${TESTPMD:-dpdk-testpmd}" "${eal[@]}" --file-prefix "testpmd-$1" --no-telemetry "${device[@]}" -- \
  --nb-cores=1 --total-num-mbufs=16384 --port-topology=loop --stats-period=1 "${mode[@]}"
