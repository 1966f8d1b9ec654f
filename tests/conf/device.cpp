#include <catch2/catch.hpp>

#include "conf/load.hpp"

using namespace espgate::conf;

namespace {

Device device(const char* text, std::uint16_t mtu = 1500, unsigned index = 0) {
  Port port;
  port.device = text;
  port.mtu = mtu;
  return device_args(port, index);
}

using Arguments = std::vector<std::string>;

}  // namespace

TEST_CASE("devices are the EAL arguments and the port name that DPDK gives them") {
  struct Row {
    const char* text;
    unsigned index;
    const char* option;
    const char* argument;
    const char* name;
  };
  static constexpr Row rows[] = {
      {"0000:01:00.0", 0, "-a", "0000:01:00.0", "0000:01:00.0"},
      {"0000:AF:1f.7", 0, "-a", "0000:af:1f.7", "0000:af:1f.7"},
      {"01:00.0", 0, "-a", "0000:01:00.0", "0000:01:00.0"},
      {"0000:01:00.0,mprq_en=1", 0, "-a", "0000:01:00.0,mprq_en=1", "0000:01:00.0"},
      {"af_packet:lan", 3, "--vdev", "net_af_packet3,iface=lan", "net_af_packet3"},
      {"af_packet:lan,qpairs=2", 0, "--vdev", "net_af_packet0,iface=lan,qpairs=2", "net_af_packet0"},
      {"af_xdp:wan", 1, "--vdev", "net_af_xdp1,iface=wan", "net_af_xdp1"},
      {"tap:esp0", 2, "--vdev", "net_tap2,iface=esp0", "net_tap2"},
      {"memif:/run/m.sock,role=client", 0, "--vdev",
       "net_memif0,socket=/run/m.sock,role=client,socket-abstract=no", "net_memif0"},
      {"memif:name,role=server", 0, "--vdev", "net_memif0,socket=name,role=server", "net_memif0"},
      {"memif:/m,socket-abstract=yes", 0, "--vdev", "net_memif0,socket=/m,socket-abstract=yes", "net_memif0"},
      {"net_ring7", 0, "--vdev", "net_ring7", "net_ring7"},
      {"net_pcap0,rx_pcap=in.pcap,tx_pcap=out.pcap", 5, "--vdev",
       "net_pcap0,rx_pcap=in.pcap,tx_pcap=out.pcap", "net_pcap0"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const Device result = device(row.text, 1500, row.index);
    CHECK(result.eal_arguments == Arguments{row.option, row.argument});
    CHECK(result.ethdev_name == row.name);
  }
}

TEST_CASE("crypto devices are their EAL arguments and the name that DPDK gives them") {
  const Device virtual_one = crypto_device_args("crypto_aesni_mb0,max_nb_queue_pairs=16");
  CHECK(virtual_one.eal_arguments == Arguments{"--vdev", "crypto_aesni_mb0,max_nb_queue_pairs=16"});
  CHECK(virtual_one.ethdev_name == "crypto_aesni_mb0");
  const Device card = crypto_device_args("3D:01.0,x=1");
  CHECK(card.eal_arguments == Arguments{"-a", "0000:3d:01.0,x=1"});
  CHECK(card.ethdev_name == "0000:3d:01.0");
  for (const char* const bad : {"", "crypto_", "net_ring0", "af_packet:lan", "3d:01", "crypto_a b"})
    CHECK_THROWS_AS(crypto_device_args(bad), Error);
}

TEST_CASE("af_packet's ring slots are as large as the MTU asks for") {
  const auto argument = [](std::uint16_t mtu) { return device("af_packet:lan", mtu).eal_arguments.at(1); };
  CHECK(argument(1500) == "net_af_packet0,iface=lan");
  CHECK(argument(1902) == "net_af_packet0,iface=lan");
  CHECK(argument(1903) == "net_af_packet0,iface=lan,blocksz=12288,framesz=3072");
  CHECK(argument(3000) == "net_af_packet0,iface=lan,blocksz=16384,framesz=4096");
  CHECK(argument(9000) == "net_af_packet0,iface=lan,blocksz=36864,framesz=9216");
  CHECK(device("af_packet:lan,framesz=32768", 9000).eal_arguments.at(1) ==
        "net_af_packet0,iface=lan,framesz=32768");
}

TEST_CASE("what is no device, in words") {
  const char* const bad[] = {"eth0",
                             "",
                             "0000:01:00.8",
                             "0000:01:00",
                             "00000:01:00.0",
                             "af_packet:",
                             "tap:a/b",
                             "memif:",
                             "memif:,id=1",
                             "net_",
                             "af_packet:a b",
                             "net_null0\n",
                             "af_xdp:..",
                             "af_packet:,iface=x",
                             "tap:sixteen-letters-",
                             "AF_PACKET:lan",
                             "virtio0"};
  for (const char* text : bad) {
    CAPTURE(text);
    CHECK_THROWS_AS(device(text), Error);
  }
  CHECK_THROWS_WITH(
      device("af_xdp:lan", 1501),
      "af_xdp carries no frames larger than an MTU of 1500; expected such an mtu, or af_packet");
}
