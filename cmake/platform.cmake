# Refuses, before anything is compiled, a compiler or machine that nnext cannot be built with or for, and says
# what is needed. Included by CMakeLists.txt; by itself: cmake -DCMAKE_CXX_COMPILER_ID=GNU ... -P cmake/platform.cmake
function(nnext_refuse)
  string(JOIN " " reason ${ARGV})
  message(FATAL_ERROR "${reason}")
endfunction()

# C++20 and the vector types that the kernels are written in.
set(oldest_GNU 12)
set(oldest_Clang 14)
set(oldest_AppleClang 15)
set(oldest "${oldest_${CMAKE_CXX_COMPILER_ID}}")
if(WIN32 AND NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # GCC takes the stack to be as aligned as its vectors, where Windows aligns it to 16 bytes: the code for AVX
  # crashes (GCC's bug 54412).
  nnext_refuse(
    "nnext is built with Clang on Windows, not with ${CMAKE_CXX_COMPILER_ID}: MSVC has no vector types, and GCC's"
    "code for AVX crashes there. In Visual Studio, with its component C++ Clang tools for Windows: -T ClangCL or"
    "CMAKE_GENERATOR_TOOLSET=ClangCL; elsewhere: -DCMAKE_CXX_COMPILER=clang-cl."
  )
elseif(NOT oldest)
  nnext_refuse("nnext is built with GCC or Clang, not with ${CMAKE_CXX_COMPILER_ID}.")
elseif(CMAKE_CXX_COMPILER_VERSION VERSION_LESS oldest)
  nnext_refuse(
    "nnext needs ${CMAKE_CXX_COMPILER_ID} ${oldest} or newer, and this one is"
    "${CMAKE_CXX_COMPILER_VERSION}: ${CMAKE_CXX_COMPILER}. Name another: -DCMAKE_CXX_COMPILER=... or CXX=..."
  )
endif()

if(
  "${CMAKE_CXX_FLAGS} $ENV{CXXFLAGS}"
    MATCHES
    "-(ffast-math|Ofast|funsafe-math-optimizations)|/fp:fast"
)
  nnext_refuse("nnext cannot be built with ${CMAKE_MATCH_0}: its results would be other ones.")
endif()

# Sizes are 64 bits wide throughout; hashes and files are little-endian.
if(NOT CMAKE_SIZEOF_VOID_P EQUAL 8)
  nnext_refuse(
    "nnext is built for 64 bits, and this compiler makes programs of other ones"
    "(pointers of ${CMAKE_SIZEOF_VOID_P} bytes). A 64-bit Python and its compiler are needed."
  )
endif()
if(NOT CMAKE_CXX_BYTE_ORDER STREQUAL "LITTLE_ENDIAN")
  nnext_refuse(
    "nnext is built for little-endian machines, and ${CMAKE_SYSTEM_PROCESSOR} is none"
    "(${CMAKE_CXX_BYTE_ORDER})."
  )
endif()
