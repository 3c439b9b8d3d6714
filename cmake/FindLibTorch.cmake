# Finds LibTorch and defines plain imported targets, without TorchConfig.cmake: that one enables the CUDA language, makes
# a dummy protobuf target and sets flags for everything.
#
#   LibTorch::cpu   torch_cpu and c10; headers as SYSTEM. Loads neither libtorch_cuda nor a driver.
#
# Looked for in: LIBTORCH_ROOT (cache), RONDO_LIBTORCH (environment: a folder that holds include/ and lib/, or the
# `torch` folder of a wheel, or its parent), the folder that `./dev setup` fills.

set(_hints ${LIBTORCH_ROOT} $ENV{RONDO_LIBTORCH} $ENV{RONDO_LIBTORCH}/torch)
if(DEFINED ENV{RONDO_CACHE})
  list(APPEND _hints $ENV{RONDO_CACHE}/libtorch/torch)
elseif(DEFINED ENV{XDG_CACHE_HOME})
  list(APPEND _hints $ENV{XDG_CACHE_HOME}/rondo/libtorch/torch)
endif()
list(APPEND _hints $ENV{HOME}/.cache/rondo/libtorch/torch)

find_path(LibTorch_INCLUDE_DIR NAMES torch/csrc/api/include/torch/torch.h PATHS ${_hints} PATH_SUFFIXES include NO_DEFAULT_PATH)
find_library(LibTorch_CPU_LIBRARY NAMES torch_cpu PATHS ${_hints} PATH_SUFFIXES lib NO_DEFAULT_PATH)
find_library(LibTorch_C10_LIBRARY NAMES c10 PATHS ${_hints} PATH_SUFFIXES lib NO_DEFAULT_PATH)

if(LibTorch_INCLUDE_DIR AND EXISTS ${LibTorch_INCLUDE_DIR}/torch/headeronly/version.h)
  set(_version_header ${LibTorch_INCLUDE_DIR}/torch/headeronly/version.h)
elseif(LibTorch_INCLUDE_DIR)
  set(_version_header ${LibTorch_INCLUDE_DIR}/torch/csrc/api/include/torch/version.h)
endif()
if(_version_header AND EXISTS ${_version_header})
  file(STRINGS ${_version_header} _lines REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
  string(REGEX REPLACE ".*MAJOR ([0-9]+).*MINOR ([0-9]+).*PATCH ([0-9]+).*" "\\1.\\2.\\3" LibTorch_VERSION "${_lines}")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_CPU_LIBRARY LibTorch_C10_LIBRARY LibTorch_INCLUDE_DIR
  VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE "run `./dev setup`, or set RONDO_LIBTORCH to a folder with LibTorch 2.11 (include/ and lib/)")

if(LibTorch_FOUND AND NOT TARGET LibTorch::cpu)
  get_filename_component(LibTorch_LIBRARY_DIR ${LibTorch_CPU_LIBRARY} DIRECTORY)
  add_library(LibTorch::c10 SHARED IMPORTED)
  set_target_properties(LibTorch::c10 PROPERTIES IMPORTED_LOCATION ${LibTorch_C10_LIBRARY})
  add_library(LibTorch::torch_cpu SHARED IMPORTED)
  set_target_properties(LibTorch::torch_cpu PROPERTIES IMPORTED_LOCATION ${LibTorch_CPU_LIBRARY})
  add_library(LibTorch::cpu INTERFACE IMPORTED)
  set_target_properties(LibTorch::cpu PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${LibTorch_INCLUDE_DIR};${LibTorch_INCLUDE_DIR}/torch/csrc/api/include"
    INTERFACE_COMPILE_FEATURES cxx_std_20)
  # --no-as-needed: registration happens in static initialisers. --allow-shlib-undefined and rpath-link are not enough
  # by themselves: the companions of the wheel (cudart, cupti) resolve through the wheel's own RPATH at run time.
  set_property(TARGET LibTorch::cpu PROPERTY INTERFACE_LINK_OPTIONS "LINKER:--allow-shlib-undefined")
  set_property(TARGET LibTorch::cpu PROPERTY INTERFACE_LINK_LIBRARIES
    "-Wl,--push-state,--no-as-needed" LibTorch::torch_cpu LibTorch::c10 "-Wl,--pop-state")
endif()
mark_as_advanced(LibTorch_INCLUDE_DIR LibTorch_CPU_LIBRARY LibTorch_C10_LIBRARY)
