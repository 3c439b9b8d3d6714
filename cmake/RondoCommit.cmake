# rondo_commit: the header rondo_commit.h, which names the commit that a build was made from. Looked up at every build,
# written only when it changed. Who links rondo_commit may include it.
set(RONDO_COMMIT_HEADER ${PROJECT_BINARY_DIR}/generated/commit/rondo_commit.h)
add_custom_target(rondo_commit_header BYPRODUCTS ${RONDO_COMMIT_HEADER}
  COMMAND ${CMAKE_COMMAND} -DSOURCE_DIR=${PROJECT_SOURCE_DIR} -DOUTPUT=${RONDO_COMMIT_HEADER} -P ${PROJECT_SOURCE_DIR}/cmake/write_commit.cmake)
add_library(rondo_commit INTERFACE)
target_include_directories(rondo_commit INTERFACE ${PROJECT_BINARY_DIR}/generated/commit)
add_dependencies(rondo_commit rondo_commit_header)
