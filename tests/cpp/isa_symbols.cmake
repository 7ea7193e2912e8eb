# Fails when an object file built for a wide instruction set defines a symbol that the linker may
# merge with one of the same name from elsewhere (nm: V, W, u). The linker keeps any one of the
# copies, and a CPU without those instructions would run it: an illegal instruction, far away.
# usage: cmake -DNM=nm -DOBJECTS="a.o;b.o" -P isa_symbols.cmake
foreach(object IN LISTS OBJECTS)
  execute_process(
    COMMAND ${NM} --defined-only --demangle ${object}
    OUTPUT_VARIABLE symbols
    COMMAND_ERROR_IS_FATAL ANY
  )
  # DW.ref.* holds an address for the exception tables: data, the same in every copy
  string(REGEX MATCHALL "[^\n]* [VWu] [^\n]*" shared "${symbols}")
  list(FILTER shared EXCLUDE REGEX " V DW\\.ref\\.")
  if(shared)
    list(JOIN shared "\n  " shared)
    message(SEND_ERROR "${object} emits shared symbols:\n  ${shared}")
  endif()
endforeach()
