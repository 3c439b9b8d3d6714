# `cmake --install`: the libraries as rondo::comm and rondo::trainer for find_package(Rondo), and the programs.
#
#   bin/rondo                   the launcher
#   libexec/rondo/rondo-*       what it starts; it looks there or beside itself; rondo-mpi-*.so, which programs under an
#                               MPI's launcher load
#   lib/cmake/Rondo/            RondoConfig.cmake, the targets, FindLibTorch.cmake
include(CMakePackageConfigHelpers)
set(_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/Rondo)

# rondo_parts(OUT TARGET...): those targets and the libraries of ours that they stand on, each once.
function(rondo_parts out)
  set(found)
  set(queue ${ARGN})
  while(queue)
    list(POP_FRONT queue name)
    string(REGEX REPLACE "^\\$<LINK_ONLY:(.*)>$" "\\1" name "${name}")
    if(NOT TARGET ${name})
      continue()
    endif()
    get_target_property(alias ${name} ALIASED_TARGET)
    if(alias)
      set(name ${alias})
    endif()
    get_target_property(imported ${name} IMPORTED)
    if(imported OR name IN_LIST found)
      continue()
    endif()
    list(APPEND found ${name})
    get_target_property(links ${name} LINK_LIBRARIES)
    if(links)
      list(APPEND queue ${links})
    endif()
  endwhile()
  set(${out} ${found} PARENT_SCOPE)
endfunction()

set(_entries rondo_comm)
if(TARGET rondo_trainer)
  list(APPEND _entries rondo_trainer)
endif()
rondo_parts(_libraries ${_entries})
install(TARGETS ${_libraries} EXPORT RondoTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

# Every public header compiles by itself: target all_verify_interface_header_sets.
set_target_properties(${_entries} PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)

# The programs are installed by their folders. rondo-train finds LibTorch where the build found it.
if(TARGET rondo_train)
  set_target_properties(rondo_train rondo_train_bench PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
endif()

configure_package_config_file(cmake/RondoConfig.cmake.in ${PROJECT_BINARY_DIR}/RondoConfig.cmake INSTALL_DESTINATION ${_package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/RondoConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(EXPORT RondoTargets NAMESPACE rondo:: DESTINATION ${_package_dir})
install(FILES ${PROJECT_BINARY_DIR}/RondoConfig.cmake ${PROJECT_BINARY_DIR}/RondoConfigVersion.cmake
  cmake/FindLibTorch.cmake DESTINATION ${_package_dir})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/rondo)
