// Windows; see os.h.
#include "os.h"

#define NOMINMAX
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
// windows.h, and what it includes, first
#include <malloc.h>

#include <algorithm>
#include <bit>
#include <cstdint>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace nnext::os {

void* allocate(std::size_t, std::size_t size) noexcept { return _aligned_malloc(size, kLine); }

void release(void* memory) noexcept { _aligned_free(memory); }

int allowed_cpus() noexcept {
  DWORD_PTR own = 0;  // 0 too where the threads of this process are in several groups
  DWORD_PTR all = 0;
  if (GetProcessAffinityMask(GetCurrentProcess(), &own, &all) != 0 && own != 0) {
    return std::popcount(std::uint64_t{own});
  }
  return static_cast<int>(std::thread::hardware_concurrency());
}

#if defined(__x86_64__)
namespace {

struct Cpu {
  std::uint32_t leaf1_ecx = 0;
  std::uint32_t leaf7_ebx = 0;
  std::uint32_t saved = 0;  // the registers that the system saves: XCR0
};

Cpu cpu() noexcept {
  constexpr std::uint32_t kHasXcr0 = 1U << 27;
  Cpu found;
  std::uint32_t eax = 0;
  std::uint32_t ebx = 0;
  std::uint32_t ecx = 0;
  std::uint32_t edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0) found.leaf1_ecx = ecx;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0) found.leaf7_ebx = ebx;
  if ((found.leaf1_ecx & kHasXcr0) != 0) {
    asm volatile("xgetbv" : "=a"(found.saved), "=d"(edx) : "c"(0));
  }
  return found;
}

constexpr bool has(std::uint32_t bits, std::uint32_t wanted) { return (bits & wanted) == wanted; }

}  // namespace

bool runs_avx2() noexcept {
  constexpr std::uint32_t kFma = 1U << 12;
  constexpr std::uint32_t kAvx2 = 1U << 5;
  constexpr std::uint32_t kYmm = 0x06;
  const Cpu here = cpu();
  return has(here.leaf1_ecx, kFma) && has(here.leaf7_ebx, kAvx2) && has(here.saved, kYmm);
}

bool runs_avx512() noexcept {
  constexpr std::uint32_t kFDqBwVl = 1U << 16 | 1U << 17 | 1U << 30 | 1U << 31;
  constexpr std::uint32_t kZmm = 0xe6;
  const Cpu here = cpu();
  return runs_avx2() && has(here.leaf7_ebx, kFDqBwVl) && has(here.saved, kZmm);
}
#endif

}  // namespace nnext::os
