// The words of keys that are one of a few. Only conf/ itself includes this.
#pragma once

#include <array>
#include <string_view>
#include <utility>

#include "conf/schema.hpp"

namespace espgate::conf {

template <class T, std::size_t N>
using Choices = std::array<std::pair<std::string_view, T>, N>;

inline constexpr Choices<bool, 2> kBool{{{"true", true}, {"false", false}}};
inline constexpr Choices<Profile, 4> kProfile{
    {{"oci", Profile::oci}, {"aws", Profile::aws}, {"azure", Profile::azure}, {"gcp", Profile::gcp}}};
inline constexpr Choices<Start, 2> kStart{{{"initiate", Start::initiate}, {"wait", Start::wait}}};
inline constexpr Choices<PpkUse, 2> kPpkUse{{{"required", PpkUse::required}, {"optional", PpkUse::optional}}};
inline constexpr Choices<PpkIdType, 2> kPpkIdType{
    {{"fixed", PpkIdType::fixed}, {"opaque", PpkIdType::opaque}}};
inline constexpr Choices<Ocsp, 3> kOcsp{
    {{"no", Ocsp::no}, {"accept", Ocsp::accept}, {"require", Ocsp::require}}};
inline constexpr Choices<Childless, 4> kChildless{{{"never", Childless::never},
                                                   {"allow", Childless::allow},
                                                   {"prefer", Childless::prefer},
                                                   {"require", Childless::require}}};
inline constexpr Choices<Encapsulation, 2> kEncapsulation{
    {{"auto", Encapsulation::automatic}, {"udp", Encapsulation::udp}}};
inline constexpr Choices<Fragmentation, 2> kFragmentation{
    {{"before", Fragmentation::before}, {"after", Fragmentation::after}}};
inline constexpr Choices<channel::GroupChoice, 2> kGroupChoice{
    {{"flow", channel::GroupChoice::flow}, {"selectors", channel::GroupChoice::selectors}}};
inline constexpr Choices<channel::Mode, 2> kMode{
    {{"tunnel", channel::Mode::tunnel}, {"transport", channel::Mode::transport}}};
inline constexpr Choices<Esn, 3> kEsn{{{"no", Esn::no}, {"yes", Esn::yes}, {"either", Esn::either}}};
inline constexpr Choices<channel::EcnMode, 2> kEcn{
    {{"normal", channel::EcnMode::normal}, {"compatibility", channel::EcnMode::compatibility}}};
inline constexpr Choices<channel::DontFragment, 3> kDf{{{"clear", channel::DontFragment::clear},
                                                        {"set", channel::DontFragment::set},
                                                        {"copy", channel::DontFragment::copy}}};

// "none" for what has no word.
template <class T, std::size_t N>
[[nodiscard]] constexpr std::string_view word_of(const T& value, const Choices<T, N>& choices) {
  for (const auto& [word, meaning] : choices)
    if (meaning == value) return word;
  return "none";
}

}  // namespace espgate::conf
