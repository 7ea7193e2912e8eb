// The data caches of the CPU that this process runs on: asked once, at the first call. Results are
// the same bits whatever they are, only the speed differs.
//
// The environment variable NNEXT_CACHES says other ones: size/ways of the three levels, in bytes or
// with K or M for 2^10 or 2^20 of them, and the bytes of a line where they are not 64:
// NNEXT_CACHES=48K/12,2M/16,64M/16 or 128K/8/128,12M/12/128,0, whose 0 is no third level.
#pragma once

#include "nnext/types.h"

namespace nnext {

// A data (or unified) cache as one core sees it: sets of `ways` lines of `line` bytes.
struct Cache {
  index_t size = 0;  // bytes; 0: there is no such level, and ways, line and sets() are 0 too
  index_t ways = 0;  // lines that may hold the same address; all there are: fully associative
  index_t line = 0;  // bytes, a power of two

  index_t sets() const { return size == 0 ? 0 : size / (ways * line); }
  bool operator==(const Cache&) const = default;
};

// Of a CPU with cores of several kinds: those of the core that the first call ran on (x86-64), of
// the first core (Linux on other CPUs) or of the fast ones (macOS).
struct Caches {
  Cache l1;  // the first two levels are always there, size, ways and line above 0
  Cache l2;
  Cache l3;
  // Logical CPUs that share the third level, as the CPU counts them: some round up to a power of
  // two, and a process may have fewer. 1 where there is no such level or nobody says.
  int l3_cpus = 1;

  bool operator==(const Caches&) const = default;
};

// Throws std::runtime_error when NNEXT_CACHES does not say them. What the machine says never fails:
// what makes no sense is passed over (src/caches.cpp has the sources).
const Caches& caches();

}  // namespace nnext
