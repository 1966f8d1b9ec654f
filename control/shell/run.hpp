// `espgate run FILE.yaml`: both processes in the foreground, and both stopped again.
#pragma once

#include <string>

namespace espgate::control {

// Until Ctrl-C or SIGTERM (exit status 0), or until the dataplane ends by itself (1). `runtime`: where the
// sockets are to be; empty: where the file says.
int run_gateway(const std::string& file, std::string runtime);

}  // namespace espgate::control
