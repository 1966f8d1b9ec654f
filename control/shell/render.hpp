// The data of show.cpp as text of at most 80 columns.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace espgate::control {

using nlohmann::json;

std::string render_tunnels(const json& data);
std::string render_ike_sa(const json& data);
std::string render_ike_counters(const json& data);
std::string render_explanation(const json& data);
std::string render_ipsec_sa(const json& data);
std::string render_interfaces(const json& data);
std::string render_crypto_devices(const json& data);
std::string render_routes(const json& data);
std::string render_group(const json& data);
std::string render_groups(const json& data);
std::string render_drops(const json& data);
std::string render_unknown_spis(const json& data);
std::string render_log(const json& data);
std::string render_version(const json& data);
std::string render_totals(const json& data);
std::string render_done(const json& data);

// `monitor`: rates between two samples of its data.
std::string render_rates(const json& before, const json& after);

}  // namespace espgate::control
