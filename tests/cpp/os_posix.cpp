// What the tests ask of Linux, macOS and their like: other processes, memory that nobody may touch.
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <new>
#include <sstream>
#include <string>
#include <system_error>
#include <vector>

#include "page_end.h"
#include "process.h"

extern char** environ;

namespace nnext::test {

Outcome run_this_program(const std::string& variable, const std::string& filter) {
  std::error_code error;
  const std::string program = std::filesystem::read_symlink("/proc/self/exe", error).string();
  if (error) return {false, -1, "/proc/self/exe: " + error.message()};

  const std::string name = variable.substr(0, variable.find('=') + 1);
  std::vector<std::string> variables = {variable};
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (std::strncmp(*entry, name.c_str(), name.size()) != 0) variables.emplace_back(*entry);
  }
  std::vector<std::string> arguments;
  if (const char* emulator = std::getenv("NNEXT_TEST_EMULATOR")) {
    std::istringstream words(emulator);
    for (std::string word; words >> word;) arguments.push_back(word);
  }
  for (const std::string& word :
       {program, "--gtest_filter=" + filter, std::string("--gtest_brief=1")}) {
    arguments.push_back(word);
  }
  const auto pointers = [](std::vector<std::string>& strings) {
    std::vector<char*> result;
    result.reserve(strings.size() + 1);
    for (std::string& string : strings) result.push_back(string.data());
    result.push_back(nullptr);
    return result;
  };

  int ends[2];
  if (pipe(ends) != 0) return {false, -1, std::string("pipe: ") + std::strerror(errno)};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
  posix_spawn_file_actions_addclose(&actions, ends[0]);
  posix_spawn_file_actions_addclose(&actions, ends[1]);
  pid_t child = 0;
  const int failure = posix_spawnp(&child, arguments[0].c_str(), &actions, nullptr,
                                   pointers(arguments).data(), pointers(variables).data());
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  std::string output;
  char buffer[4096];
  for (ssize_t n = 0; (n = read(ends[0], buffer, sizeof buffer)) > 0;) {
    output.append(buffer, static_cast<std::size_t>(n));
  }
  close(ends[0]);
  if (failure != 0) return {false, -1, program + ": " + std::strerror(failure)};
  int status = 0;
  waitpid(child, &status, 0);
  return {true, WIFEXITED(status) ? WEXITSTATUS(status) : -1, output};
}

GuardedMemory::GuardedMemory(std::size_t bytes) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t usable = (bytes + page - 1) / page * page;
  size_ = usable + page;
  memory_ = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory_ == MAP_FAILED) throw std::bad_alloc();
  end_ = static_cast<unsigned char*>(memory_) + usable;
  mprotect(end_, page, PROT_NONE);
}

GuardedMemory::~GuardedMemory() { munmap(memory_, size_); }

}  // namespace nnext::test
