// Ports as a configuration has them.
#pragma once

#include <string>
#include <vector>

#include "conf/schema.hpp"

namespace espgate::test {

// A port, and a sub-interface of it, which has an address more.
inline std::vector<conf::Port> port_with_vlan(const std::string& device) {
  std::vector<conf::Port> wanted(2);
  wanted[0].name = "wan";
  wanted[0].device = device;
  wanted[0].addresses = {*parse_prefix("192.0.2.1/24"), *parse_prefix("2001:db8::12:3456/64")};
  wanted[1].name = "guests";
  wanted[1].parent = "wan";
  wanted[1].vlan = 100;
  wanted[1].addresses = {*parse_prefix("2001:db8:1::ab:cdef/64")};
  return wanted;
}

}  // namespace espgate::test
