// The parts of which a process's confinement is made. Only confine/ itself includes this.
#pragma once

#include <sys/types.h>

#include <optional>
#include <span>

#include "confine/confine.hpp"

namespace espgate::confine {

// Why a part could not be done, in words; empty: it was.
using Words = std::string;

// privileges.cpp
[[nodiscard]] Words keep_capabilities(std::span<const int> kept);
void bound_capabilities(std::span<const int> kept);
struct User {
  uid_t uid;
  gid_t gid;
};
[[nodiscard]] std::optional<User> find_user(const std::string& name);
[[nodiscard]] Words become(const User& user);
[[nodiscard]] Words keep_locked();   // before the capability for it is given up
[[nodiscard]] Words gain_nothing();  // by programs with privileges (no_new_privs)

// places.cpp. `own` gives a directory's files to the user.
[[nodiscard]] Words own(const std::string& directory, const User& user);
[[nodiscard]] bool may_go_through(const std::string& directory, const User& user);
[[nodiscard]] Words see_only(const std::string& directory);
[[nodiscard]] Words leave_network();
// Of all files those beneath the directory of this descriptor may be changed, and no others opened.
[[nodiscard]] Words change_only(int directory);

// calls.cpp: the system calls (seccomp) that give EPERM.
[[nodiscard]] Words never_calls_of_dataplane(bool hardware);
[[nodiscard]] Words only_calls_of_control(bool files);
[[nodiscard]] Words only_calls_of_signer();

}  // namespace espgate::confine
