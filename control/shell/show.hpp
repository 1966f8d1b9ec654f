// The data behind each shell command, as JSON: show.cpp and its sisters show_*.cpp. Text that came from a
// peer is made printable here, once. All throw CommandError with words: arguments that make no sense, or a
// dataplane that is not attached.
#pragma once

#include "control/shell/commands.hpp"

namespace espgate::control {

json show_tunnels(Gateway& gateway, const Arguments& arguments, Time now);
json show_ike_sa(Gateway& gateway, const Arguments& arguments, Time now);
json show_ike_counters(Gateway& gateway, const Arguments& arguments, Time now);
json explain_tunnel(Gateway& gateway, const Arguments& arguments, Time now);
json show_ipsec_sa(Gateway& gateway, const Arguments& arguments, Time now);
json show_interfaces(Gateway& gateway, const Arguments& arguments, Time now);
json show_crypto_devices(Gateway& gateway, const Arguments& arguments, Time now);
json show_routes(Gateway& gateway, const Arguments& arguments, Time now);
json show_group(Gateway& gateway, const Arguments& arguments, Time now);
json show_groups(Gateway& gateway, const Arguments& arguments, Time now);
json show_drops(Gateway& gateway, const Arguments& arguments, Time now);
json show_unknown_spis(Gateway& gateway, const Arguments& arguments, Time now);
json show_log(Gateway& gateway, const Arguments& arguments, Time now);
json show_version(Gateway& gateway, const Arguments& arguments, Time now);
json show_totals(Gateway& gateway, const Arguments& arguments, Time now);
json mirror(Gateway& gateway, const Arguments& arguments, Time now);
json reset_tunnel(Gateway& gateway, const Arguments& arguments, Time now);
json rekey_tunnel(Gateway& gateway, const Arguments& arguments, Time now);

}  // namespace espgate::control
