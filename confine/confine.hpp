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

// Makes `directory`, mode 0700, if it is not there. One that is root's alone is opened to `user`'s group, who
// may then go through it and connect to sockets that are open to their group. Before any of the processes is
// confined. Returns words only where the directory can't be made.
[[nodiscard]] Shortcomings share_directory(const std::string& directory, const std::string& user);

struct ControlNeeds {
  std::string user;     // whose it becomes; where there is no such user it stays root, without capabilities
  std::string sockets;  // the one directory that it sees from then on, as `/`
  std::string state;    // the one directory whose files it may make and replace; empty: none
};
// The control process: what it has open stays. It starts no program and no process, opens no file but those
// of `state`, and no socket but Unix sockets, to those in `sockets`.
[[nodiscard]] Shortcomings control(const ControlNeeds& needs);

// The signer: nothing but what it has open, and only reading, writing and its own memory.
[[nodiscard]] Shortcomings signer(const std::string& user);

}  // namespace espgate::confine
