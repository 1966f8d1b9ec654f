// What a process gives up before it serves anybody: so that who takes it over has little. All before it makes
// a second thread, which would keep what the first has given up.
//
// Every function returns what could not be given up, a line in words each, for the log and the operator;
// whatever could be, was.
#pragma once

#include <string>
#include <vector>

namespace espgate::confine {

using Shortcomings = std::vector<std::string>;

// Keys are in this process's memory: no core file, no debugger.
[[nodiscard]] Shortcomings keep_memory_private();

// What is in memory stays there and is not swapped out; what is not yet, as soon as it is.
[[nodiscard]] Shortcomings lock_memory();
// What was freed goes back to the system, which locked pages can't.
void give_back_memory();

struct DataplaneNeeds {
  bool hardware{false};    // devices other than the kernel's interfaces
  bool namespaces{false};  // network namespaces
};
// The dataplane: stays root, and keeps the capabilities that ports, the kernel's twins and network namespaces
// need. No program is started, no module loaded, nothing traced or mounted.
[[nodiscard]] Shortcomings dataplane(const DataplaneNeeds& needs);

}  // namespace espgate::confine
