/// What Rondo asks of an MPI library, as a table of C functions, because the two families of MPI agree on no binary
/// interface: in one a communicator is a number, in the other a pointer.
///
/// component.c is compiled twice, against the headers of Open MPI (rondo-mpi-openmpi.so, for 4.1 and 5) and of MPICH
/// (rondo-mpi-mpich.so; its interface is also that of Intel MPI and MVAPICH). Neither is linked with MPI: bind() looks
/// the functions up in the library that was found at run time. One library, one communicator per process, so a
/// component keeps both in static memory. Threading: one call at a time, start() and finish() from one thread. All but
/// these two return at once. Functions return 0 or an error of MPI's, which describe() puts into words.
#pragma once

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Changes whenever the table does.
#define RONDO_MPI_INTERFACE 1
/// The name under which a component exports its table: `const struct RondoMpiComponent* rondo_mpi_component_1(void)`.
#define RONDO_MPI_ENTRY "rondo_mpi_component_1"

/// One send or receive under way; what is in it is MPI's.
struct RondoMpiRequest {
  long long words[2];
};

struct RondoMpiComponent {
  int interface_version;  // RONDO_MPI_INTERFACE
  /// Finds all functions in `library` (of dlopen). 0, or 1 and the name of the one that is missing.
  int (*bind)(void* library, const char** missing);
  /// Whether somebody in this process has started MPI, and has finished it.
  int (*state)(int* started, int* finished);
  /// The first line of what the library says of itself.
  void (*version)(char* text, size_t capacity);
  void (*describe)(int error, char* text, size_t capacity);

  /// MPI_Init_thread for calls from any thread, one at a time. Blocks until every rank has called it.
  int (*start)(void);
  /// MPI_Finalize. Blocks until every rank has called it.
  int (*finish)(void);
  /// `from_any_thread`: MPI was started so that calls may come from any thread, one at a time. Else only from the
  /// thread that started it; `here`: this is that thread.
  int (*threads)(int* from_any_thread, int* here);

  /// Makes the communicator that all calls below go by: the ranks of MPI_COMM_WORLD with their numbers, and errors that
  /// return. Every rank must call it.
  int (*duplicate)(struct RondoMpiRequest* request);
  int (*place)(int* rank, int* size, int* highest_tag);
  /// `until_met`: complete once the receiver has begun to take it. Else: once MPI needs `bytes` no more.
  int (*send)(const void* bytes, size_t count, int to, int tag, int until_met, struct RondoMpiRequest* request);
  /// Begins to take the next message of `from` with `tag` if there is one: `found`, and how many bytes it has. A longer
  /// one than `capacity` is found and not taken. Below 0, `from` and `tag` mean any.
  int (*receive)(void* into, size_t capacity, int from, int tag, int* found, size_t* count,
                 struct RondoMpiRequest* request);
  /// Moves what is under way.
  int (*test)(struct RondoMpiRequest* request, int* done);
};

#ifdef __cplusplus
}
#endif
