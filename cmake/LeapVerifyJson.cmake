# Finds the headers of nlohmann_json: the system's, or those that pip brings as nlohmann-json for a wheel.
if(SKBUILD)
  execute_process(
    COMMAND "${Python_EXECUTABLE}" -c
      "import importlib.util as u; print(u.find_spec('nlohmann_json').submodule_search_locations[0])"
    OUTPUT_VARIABLE package
    OUTPUT_STRIP_TRAILING_WHITESPACE
    ERROR_QUIET
    RESULT_VARIABLE failed)
  if(NOT failed)
    add_library(leapverify_json INTERFACE)
    add_library(nlohmann_json::nlohmann_json ALIAS leapverify_json)
    target_include_directories(leapverify_json SYSTEM INTERFACE "${package}/include")
    return()
  endif()
endif()
find_package(nlohmann_json 3.10.5 REQUIRED)
