# One interface target carries the warnings and the hardening; every target of ours links it.
option(STRICT_WERROR "Warnings are errors" OFF)
set(STRICT_SANITIZE "" CACHE STRING "Value of -fsanitize=")

add_library(strict INTERFACE)
target_compile_definitions(strict INTERFACE _GNU_SOURCE)
target_compile_options(strict INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wstrict-prototypes
  -Wold-style-definition -Wmissing-prototypes -Wmissing-declarations -Wredundant-decls
  -Wpointer-arith -Wcast-qual -Wwrite-strings -Wundef -Wvla -Wformat=2 -Wformat-security
  -Wnull-dereference -Wswitch-enum -Wdouble-promotion -Wimplicit-fallthrough
  -fno-common -fno-strict-aliasing -fstack-protector-strong
  $<$<C_COMPILER_ID:GNU>:-Wlogical-op;-Wduplicated-cond;-Wduplicated-branches;-Wtrampolines;-Walloca;-Wjump-misses-init>
  $<$<BOOL:${STRICT_WERROR}>:-Werror>)

if(NOT STRICT_SANITIZE)
  target_compile_options(strict INTERFACE
    -fstack-clash-protection -fcf-protection=full
    $<$<C_COMPILER_ID:GNU>:-ftrivial-auto-var-init=zero>
    $<$<NOT:$<CONFIG:Debug>>:-U_FORTIFY_SOURCE;-D_FORTIFY_SOURCE=3>)
  target_link_options(strict INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed)
  set(CMAKE_POSITION_INDEPENDENT_CODE ON)
  include(CheckPIESupported)
  check_pie_supported()
else()
  target_compile_options(strict INTERFACE
    -fsanitize=${STRICT_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  # "fuzzer-no-link" instruments only; the fuzz targets themselves link the engine.
  string(REPLACE ",fuzzer-no-link" "" link_sanitize "${STRICT_SANITIZE}")
  target_link_options(strict INTERFACE -fsanitize=${link_sanitize})
endif()
