// The parts of which a process's confinement is made. Only confine/ itself includes this.
#pragma once

#include <span>

#include "confine/confine.hpp"

namespace espgate::confine {

// Why a part could not be done, in words; empty: it was.
using Words = std::string;

// privileges.cpp
[[nodiscard]] Words keep_capabilities(std::span<const int> kept);
[[nodiscard]] Words gain_nothing();  // by programs with privileges (no_new_privs)

// calls.cpp: the system calls (seccomp) that give EPERM.
[[nodiscard]] Words never_calls_of_dataplane(bool hardware);

}  // namespace espgate::confine
