// What the mains of the control process and of the signer have in common.
#pragma once

#include <string>

#include "confine/confine.hpp"
#include "control/tunnels/log.hpp"

namespace espgate::control {

struct ProcessOptions {
  std::string config;   // the gateway's file
  std::string runtime;  // where the sockets are; empty: as the file says
  std::string log;      // a file; empty: standard error
};

// Reads the command line, and runs `run` with a log. Returns what the process is to return.
int process_main(int argc, char** argv, const char* description, int (*run)(const ProcessOptions&, Log&));

// Before confinement: what libraries else would read from files later.
void settle_libraries();

// Warnings.
void log_shortcomings(Log& log, const confine::Shortcomings& shortcomings);

}  // namespace espgate::control
