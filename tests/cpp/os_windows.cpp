// What the tests ask of Windows: other processes, memory that nobody may touch.
#define NOMINMAX
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
// windows.h first
#include <cstdio>
#include <cstdlib>
#include <new>
#include <string>

#include "page_end.h"
#include "process.h"

namespace nnext::test {
namespace {

// Sets a variable of this process, which those that it starts get; an empty value removes it.
void set_variable(const std::string& name, const std::string& value) {
  _putenv_s(name.c_str(), value.c_str());
}

}  // namespace

Outcome run_this_program(const std::string& variable, const std::string& filter) {
  char program[MAX_PATH];
  const DWORD length = GetModuleFileNameA(nullptr, program, MAX_PATH);
  if (length == 0 || length == MAX_PATH) return {false, -1, "no name of this program"};

  const std::size_t equals = variable.find('=');
  const std::string name = variable.substr(0, equals);
  const char* const found = std::getenv(name.c_str());
  const std::string before = found == nullptr ? "" : found;
  set_variable(name, variable.substr(equals + 1));
  // cmd.exe takes the outermost quotes away.
  const std::string command =
      std::string("\"\"") + program + "\" \"--gtest_filter=" + filter + "\" --gtest_brief=1 2>&1\"";
  std::FILE* const pipe = _popen(command.c_str(), "rb");
  set_variable(name, before);
  if (pipe == nullptr) return {false, -1, command + ": cannot be run"};
  std::string output;
  char buffer[4096];
  for (std::size_t n = 0; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) {
    output.append(buffer, n);
  }
  return {true, _pclose(pipe), output};
}

GuardedMemory::GuardedMemory(std::size_t bytes) {
  SYSTEM_INFO system;
  GetSystemInfo(&system);
  const std::size_t page = system.dwPageSize;
  const std::size_t usable = (bytes + page - 1) / page * page;
  size_ = usable + page;
  memory_ = VirtualAlloc(nullptr, size_, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
  if (memory_ == nullptr) throw std::bad_alloc();
  end_ = static_cast<unsigned char*>(memory_) + usable;
  DWORD before = 0;
  VirtualProtect(end_, page, PAGE_NOACCESS, &before);
}

GuardedMemory::~GuardedMemory() { VirtualFree(memory_, 0, MEM_RELEASE); }

}  // namespace nnext::test
