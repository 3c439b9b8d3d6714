# gRPC as the target Grpc::unsecure. Without gRPC's own TLS, because Rondo's door in front of it has one, and from static
# libraries where they are: the shared ones, more than 50 of them, cost every start of `rondo` some 7 ms of a core, the
# static ones 1.5 ms.
find_package(PkgConfig REQUIRED)
pkg_check_modules(grpc_unsecure IMPORTED_TARGET grpc++_unsecure>=1.51)

set(_archives)
foreach(_name IN LISTS grpc_unsecure_LIBRARIES ITEMS upb address_sorting cares)
  if(NOT _name MATCHES "^(grpc|gpr|absl|upb|address_sorting|cares)")
    continue()  # of the C library
  endif()
  find_library(GrpcUnsecure_${_name}_ARCHIVE lib${_name}.a HINTS ${grpc_unsecure_LIBRARY_DIRS})
  mark_as_advanced(GrpcUnsecure_${_name}_ARCHIVE)
  if(GrpcUnsecure_${_name}_ARCHIVE)
    list(APPEND _archives ${GrpcUnsecure_${_name}_ARCHIVE})
  else()
    set(_archives)
    break()
  endif()
endforeach()
list(REMOVE_DUPLICATES _archives)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(GrpcUnsecure REQUIRED_VARS grpc_unsecure_FOUND VERSION_VAR grpc_unsecure_VERSION
  REASON_FAILURE_MESSAGE "install libgrpc++-dev and protobuf-compiler-grpc: ./dev setup does")
find_program(GrpcUnsecure_PLUGIN grpc_cpp_plugin REQUIRED)

if(NOT TARGET Grpc::unsecure)
  add_library(Grpc::unsecure INTERFACE IMPORTED)
  if(_archives)
    find_package(ZLIB REQUIRED)
    target_include_directories(Grpc::unsecure SYSTEM INTERFACE ${grpc_unsecure_INCLUDE_DIRS})
    target_link_libraries(Grpc::unsecure INTERFACE "$<LINK_GROUP:RESCAN,${_archives}>" ZLIB::ZLIB Threads::Threads rt)
  else()
    target_link_libraries(Grpc::unsecure INTERFACE PkgConfig::grpc_unsecure)
  endif()
endif()
