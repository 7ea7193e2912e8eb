// Plans of the matrix product that a test wants.
#pragma once

#include "nnext/plan.h"

namespace nnext::test {

// Every product follows these wishes while it lives.
class Wishing {
 public:
  explicit Wishing(const PlanWishes& wishes) : wishes_(wishes) { wish(&wishes_); }
  ~Wishing() { wish(nullptr); }
  Wishing(const Wishing&) = delete;
  Wishing& operator=(const Wishing&) = delete;

 private:
  const PlanWishes wishes_;
};

}  // namespace nnext::test
