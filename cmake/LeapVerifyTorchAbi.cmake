# leapverify_torch_cxx11_abi(OUT): sets OUT to 1 when the torch that was found uses the C++11 ABI of libstdc++,
# to 0 when not. Newer torch packages state no flag, so their library is asked for a symbol that takes a string.
function(leapverify_torch_cxx11_abi out)
  if("${TORCH_CXX_FLAGS}" MATCHES "_GLIBCXX_USE_CXX11_ABI=([01])")
    set(${out} "${CMAKE_MATCH_1}" PARENT_SCOPE)
    return()
  endif()
  file(STRINGS "${TORCH_INSTALL_PREFIX}/lib/libc10.so" symbols REGEX "_ZN3c105ErrorC.*__cxx11" LIMIT_COUNT 1)
  if(symbols)
    set(${out} 1 PARENT_SCOPE)
  else()
    set(${out} 0 PARENT_SCOPE)
  endif()
endfunction()
