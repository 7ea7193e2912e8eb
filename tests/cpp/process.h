// Runs this test program again, in an environment of its own.
#pragma once

#include <string>

namespace nnext::test {

struct Outcome {
  bool could_run;      // false where a program cannot start itself (no /proc, say)
  int exit_code;       // -1 after a signal
  std::string output;  // standard output and error, or why it could not run
};

// Runs the tests that `filter` selects with one more environment variable, "NAME=value". Under an
// emulator NNEXT_TEST_EMULATOR is its command, so that the second process runs there too.
Outcome run_this_program(const std::string& variable, const std::string& filter);

}  // namespace nnext::test
