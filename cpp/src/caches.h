// Where the caches of nnext/caches.h come from, in parts that a test can call: what each source's
// words mean. Operations need caches() alone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "nnext/caches.h"

namespace nnext {

// Reads the text of NNEXT_CACHES. Throws std::invalid_argument, which shows it, when it is no such
// text: a number that is none or too large, a size that is not ways x line x a number of sets.
Caches parse_caches(const std::string& text);

// What one source tells of each level. Nothing where it says nothing, or what makes no sense:
// hypervisors and emulators tell of caches of size 0, of one way, of no sets. A source that tells
// of the first two levels and does not mention the third says that there is none.
struct CachesTold {
  std::optional<Cache> l1;
  std::optional<Cache> l2;
  std::optional<Cache> l3;  // of size 0: there is none
  int l3_cpus = 1;

  bool operator==(const CachesTold&) const = default;
};

// One answer of the x86 instruction cpuid.
struct Cpuid {
  std::uint32_t eax;
  std::uint32_t ebx;
  std::uint32_t ecx;
  std::uint32_t edx;
};

// The answers of leaf 4 (Intel) or 0x8000001D (AMD), which mean the same, for subleaf 0, 1, ...
CachesTold caches_of_cpuid(const std::vector<Cpuid>& subleaves);

// A folder like /sys/devices/system/cpu/cpu0/cache of Linux.
CachesTold caches_of_sysfs(const std::string& folder);

// Of each level what the first source with an answer tells, else a cache that is hardly ever larger
// than the real one.
Caches first_told(const std::vector<CachesTold>& sources);

}  // namespace nnext
