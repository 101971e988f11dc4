# A layer is a top-level directory that becomes a static library. It sees the include
# paths of the layers it may depend on and no others, so that `#include "processor/x.h"`
# in ingest/ does not compile.
#
#   tocsin_layer(ingest SEES common LIBS PkgConfig::MICROHTTPD)
#
# makes ingest_core from ingest/*.c (without main.c) and, when main.c is there, the
# executable tocsin-ingest.
function(tocsin_layer name)
  cmake_parse_arguments(arg "" "" "SEES;LIBS;SOURCES" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${name}/*.c)
  list(FILTER sources EXCLUDE REGEX "/main\\.c$")
  if(NOT sources AND NOT arg_SOURCES)
    return()
  endif()
  set(target ${name}_core)
  add_library(${target} STATIC ${sources} ${arg_SOURCES})

  set(view ${CMAKE_BINARY_DIR}/sees/${name})
  file(MAKE_DIRECTORY ${view})
  foreach(layer ${name} ${arg_SEES})
    file(CREATE_LINK ${PROJECT_SOURCE_DIR}/${layer} ${view}/${layer} SYMBOLIC)
    if(NOT layer STREQUAL name)
      target_link_libraries(${target} PUBLIC ${layer}_core)
    endif()
  endforeach()
  target_include_directories(${target} PRIVATE ${view})
  target_link_libraries(${target} PUBLIC strict ${arg_LIBS})

  if(EXISTS ${PROJECT_SOURCE_DIR}/${name}/main.c)
    add_executable(tocsin-${name} ${PROJECT_SOURCE_DIR}/${name}/main.c)
    target_include_directories(tocsin-${name} PRIVATE ${view})
    target_link_libraries(tocsin-${name} PRIVATE ${target})
  endif()
endfunction()

# The entries of a registry (`SOURCE(name)` lines) as files: DIR/name.c.
function(tocsin_registry out def macro dir)
  file(STRINGS ${def} lines REGEX "^${macro}\\(")
  list(TRANSFORM lines REPLACE "^${macro}\\(([a-z0-9_]+)\\).*" "${PROJECT_SOURCE_DIR}/${dir}/\\1.c")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${def})
  set(${out} ${lines} PARENT_SCOPE)
endfunction()
