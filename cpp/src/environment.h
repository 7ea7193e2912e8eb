// Environment variables, as they may be compared and shown.
#pragma once

#include <cstdlib>
#include <string>

namespace nnext {

// The value of a variable; empty where it is not set. Bytes other than printable ASCII become '?':
// no value that means something has one, and messages are UTF-8.
inline std::string environment(const char* variable) {
  const char* const text = std::getenv(variable);
  std::string value = text == nullptr ? "" : text;
  for (char& c : value) {
    if (c < ' ' || c > '~') c = '?';
  }
  return value;
}

}  // namespace nnext
