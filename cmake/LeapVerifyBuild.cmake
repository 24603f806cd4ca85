# What all targets share: language level, warnings, the include tree, and one function per kind of target.
include(GNUInstallDirs)

set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  # Without this sloppiness ccache lets no file that uses a precompiled header hit.
  set(launcher "${CMAKE_COMMAND}" -E env CCACHE_SLOPPINESS=pch_defines,time_macros "${CCACHE_PROGRAM}")
  set(CMAKE_CXX_COMPILER_LAUNCHER "${launcher}")
  set(CMAKE_CUDA_COMPILER_LAUNCHER "${launcher}")
endif()

# <leapverify/kernels/combine.h> is the one spelling, here through links and after installation.
set(LEAPVERIFY_INCLUDE_TREE "${PROJECT_BINARY_DIR}/include")
file(MAKE_DIRECTORY "${LEAPVERIFY_INCLUDE_TREE}/leapverify")
foreach(layer kernels regimes runtime integrations)
  file(CREATE_LINK "${PROJECT_SOURCE_DIR}/${layer}" "${LEAPVERIFY_INCLUDE_TREE}/leapverify/${layer}" SYMBOLIC)
endforeach()

function(leapverify_warnings target)
  set(cxx_warnings -Wall -Wextra -Wconversion -Wshadow)
  set(cuda_warnings -Xcompiler=-Wall,-Wextra)
  if(LEAPVERIFY_WARNINGS_AS_ERRORS)
    list(APPEND cxx_warnings -Werror)
    list(APPEND cuda_warnings -Werror=all-warnings)
  endif()
  target_compile_options(${target} PRIVATE
    "$<$<COMPILE_LANGUAGE:CXX>:${cxx_warnings}>"
    "$<$<COMPILE_LANGUAGE:CUDA>:${cuda_warnings}>")
endfunction()

# leapverify_library(NAME [TORCH] [INTERNAL] SOURCES file... [LINKS target...] [PRIVATE_LINKS target...])
# Makes the static library leapverify_NAME, alias leapverify::NAME, installed and exported under that name.
# TORCH: its sources include torch; they use the shared precompiled header.
# INTERNAL: serves the program only; not installed.
# PRIVATE_LINKS: header-only libraries its sources use; who links an installed leapverify::NAME does not need them.
function(leapverify_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "TORCH;INTERNAL" "" "SOURCES;LINKS;PRIVATE_LINKS")
  add_library(leapverify_${name} STATIC ${arg_SOURCES})
  add_library(leapverify::${name} ALIAS leapverify_${name})
  set_target_properties(leapverify_${name} PROPERTIES EXPORT_NAME ${name})
  target_compile_features(leapverify_${name} PUBLIC cxx_std_17)
  target_include_directories(leapverify_${name} PUBLIC
    $<BUILD_INTERFACE:${LEAPVERIFY_INCLUDE_TREE}>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(leapverify_${name} PUBLIC ${arg_LINKS})
  foreach(link IN LISTS arg_PRIVATE_LINKS)
    target_link_libraries(leapverify_${name} PRIVATE $<BUILD_INTERFACE:${link}>)
  endforeach()
  leapverify_warnings(leapverify_${name})
  if(arg_TORCH)
    leapverify_use_torch_headers(leapverify_${name})
    # The wheel's libtorch exports a std::filesystem of its own, whose remove_all crashes. Found first, the
    # system's libstdc++ wins. It is named by its file: a compiler may come with the archive libstdc++.a alone, and
    # a second copy in a program beside libtorch's crashes once a stream writes a number.
    target_link_options(leapverify_${name} INTERFACE
      "SHELL:-Wl,--push-state,--no-as-needed -l:libstdc++.so.6 -Wl,--pop-state")
  endif()
  if(NOT arg_INTERNAL)
    set_property(GLOBAL APPEND PROPERTY LEAPVERIFY_LIBRARIES leapverify_${name})
  endif()
endfunction()
