/* See component.h. Only the types and constants of mpi.h are used; functions are looked up. */
#define _GNU_SOURCE
#include "comm/mpi/component.h"

#include <dlfcn.h>
#include <limits.h>
#include <mpi.h>
#include <stdio.h>
#include <string.h>

_Static_assert(sizeof(MPI_Request) <= sizeof(struct RondoMpiRequest), "a request fits");

/* The functions that are used, without the prefix MPI_; all return int. */
#define RONDO_EACH_FUNCTION(X)                                                  \
  X(Initialized, (int*))                                                        \
  X(Finalized, (int*))                                                          \
  X(Init_thread, (int*, char***, int, int*))                                    \
  X(Finalize, (void))                                                           \
  X(Query_thread, (int*))                                                       \
  X(Is_thread_main, (int*))                                                     \
  X(Get_library_version, (char*, int*))                                         \
  X(Error_string, (int, char*, int*))                                           \
  X(Comm_rank, (MPI_Comm, int*))                                                \
  X(Comm_size, (MPI_Comm, int*))                                                \
  X(Comm_idup, (MPI_Comm, MPI_Comm*, MPI_Request*))                             \
  X(Comm_set_errhandler, (MPI_Comm, MPI_Errhandler))                            \
  X(Comm_get_attr, (MPI_Comm, int, void*, int*))                                \
  X(Isend, (const void*, int, MPI_Datatype, int, int, MPI_Comm, MPI_Request*))  \
  X(Issend, (const void*, int, MPI_Datatype, int, int, MPI_Comm, MPI_Request*)) \
  X(Improbe, (int, int, MPI_Comm, int*, MPI_Message*, MPI_Status*))             \
  X(Get_count, (const MPI_Status*, MPI_Datatype, int*))                         \
  X(Imrecv, (void*, int, MPI_Datatype, MPI_Message*, MPI_Request*))             \
  X(Test, (MPI_Request*, int*, MPI_Status*))

#define RONDO_DECLARE(name, parameters) int(*name) parameters;
static struct {
  RONDO_EACH_FUNCTION(RONDO_DECLARE)
  MPI_Comm world, own;
  MPI_Datatype byte;
  MPI_Errhandler errors_return;
  MPI_Message left; /* found too long for its buffer; never taken */
} mpi;

#ifdef OPEN_MPI
/* Its constants are addresses of variables. A program that is linked with the library has them in its own memory (the
   linker's "copy relocation"), where the library then finds them, too. */
static void* variable(void* library, const char* name) {
  void* const of_program = dlsym(RTLD_DEFAULT, name);
  return of_program != NULL ? of_program : dlsym(library, name);
}
#endif

static int bind_library(void* library, const char** missing) {
  /* C has no conversion from void* to a function; POSIX promises that the copy works. */
#define RONDO_LOOK_UP(name, parameters)                   \
  {                                                       \
    void* const found = dlsym(library, "MPI_" #name);     \
    if (found == NULL) return *missing = "MPI_" #name, 1; \
    memcpy((void*)&mpi.name, &found, sizeof(found));      \
  }
  RONDO_EACH_FUNCTION(RONDO_LOOK_UP)
#ifdef OPEN_MPI
  mpi.world = variable(library, "ompi_mpi_comm_world");
  mpi.byte = variable(library, "ompi_mpi_byte");
  mpi.errors_return = variable(library, "ompi_mpi_errors_return");
  if (mpi.world == NULL || mpi.byte == NULL || mpi.errors_return == NULL) return *missing = "ompi_mpi_comm_world", 1;
#else
  mpi.world = MPI_COMM_WORLD;
  mpi.byte = MPI_BYTE;
  mpi.errors_return = MPI_ERRORS_RETURN;
#endif
  return 0;
}

static int state(int* started, int* finished) {
  const int error = mpi.Initialized(started);
  return error != MPI_SUCCESS ? error : mpi.Finalized(finished);
}

static void version(char* text, size_t capacity) {
  char all[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int length = 0;
  if (mpi.Get_library_version(all, &length) != MPI_SUCCESS) all[0] = '\0';
  all[strcspn(all, "\n")] = '\0';
  snprintf(text, capacity, "%s", all);
}

static void describe(int error, char* text, size_t capacity) {
  char all[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  if (mpi.Error_string(error, all, &length) != MPI_SUCCESS) snprintf(all, sizeof(all), "error %d", error);
  snprintf(text, capacity, "%s", all);
}

static int start(void) {
  int provided = MPI_THREAD_SINGLE;
  const int error = mpi.Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided);
  /* Nobody else uses MPI here, so its errors may return from the beginning. */
  return error != MPI_SUCCESS ? error : mpi.Comm_set_errhandler(mpi.world, mpi.errors_return);
}

static int finish(void) { return mpi.Finalize(); }

static int threads(int* from_any_thread, int* here) {
  int level = MPI_THREAD_SINGLE;
  const int error = mpi.Query_thread(&level);
  *from_any_thread = level == MPI_THREAD_SERIALIZED || level == MPI_THREAD_MULTIPLE;
  return error != MPI_SUCCESS ? error : mpi.Is_thread_main(here);
}

/* A request is copied between its own type and the caller's bytes. */
static void keep(struct RondoMpiRequest* request, MPI_Request value) { memcpy(request->words, &value, sizeof(value)); }

static int duplicate(struct RondoMpiRequest* request) {
  MPI_Request value;
  const int error = mpi.Comm_idup(mpi.world, &mpi.own, &value);
  if (error == MPI_SUCCESS) keep(request, value);
  return error;
}

static int place(int* rank, int* size, int* highest_tag) {
  int* tag = NULL;
  int known = 0;
  int error = mpi.Comm_set_errhandler(mpi.own, mpi.errors_return);
  if (error == MPI_SUCCESS) error = mpi.Comm_rank(mpi.own, rank);
  if (error == MPI_SUCCESS) error = mpi.Comm_size(mpi.own, size);
  if (error == MPI_SUCCESS) error = mpi.Comm_get_attr(mpi.world, MPI_TAG_UB, (void*)&tag, &known);
  *highest_tag = known && tag != NULL ? *tag : 32767; /* what every MPI has */
  return error;
}

static int send(const void* bytes, size_t count, int to, int tag, int until_met, struct RondoMpiRequest* request) {
  MPI_Request value;
  if (count > INT_MAX) return MPI_ERR_COUNT;
  const int error = (until_met ? mpi.Issend : mpi.Isend)(bytes, (int)count, mpi.byte, to, tag, mpi.own, &value);
  if (error == MPI_SUCCESS) keep(request, value);
  return error;
}

static int receive(void* into, size_t capacity, int from, int tag, int* found, size_t* count,
                   struct RondoMpiRequest* request) {
  MPI_Message message;
  MPI_Status status;
  MPI_Request value;
  int length = 0;
  *found = 0;
  int error =
      mpi.Improbe(from < 0 ? MPI_ANY_SOURCE : from, tag < 0 ? MPI_ANY_TAG : tag, mpi.own, found, &message, &status);
  if (error != MPI_SUCCESS || !*found) return error;
  error = mpi.Get_count(&status, mpi.byte, &length);
  if (error != MPI_SUCCESS) return error;
  *count = (size_t)length;
  if (length < 0 || (size_t)length > capacity) return mpi.left = message, MPI_SUCCESS;
  error = mpi.Imrecv(into, length, mpi.byte, &message, &value);
  if (error == MPI_SUCCESS) keep(request, value);
  return error;
}

static int test(struct RondoMpiRequest* request, int* done) {
  MPI_Request value;
  MPI_Status status;
  memcpy(&value, request->words, sizeof(value));
  const int error = mpi.Test(&value, done, &status);
  keep(request, value);
  return error;
}

__attribute__((visibility("default"))) const struct RondoMpiComponent* rondo_mpi_component_1(void) {
  static const struct RondoMpiComponent table = {
      .interface_version = RONDO_MPI_INTERFACE,
      .bind = bind_library,
      .state = state,
      .version = version,
      .describe = describe,
      .start = start,
      .finish = finish,
      .threads = threads,
      .duplicate = duplicate,
      .place = place,
      .send = send,
      .receive = receive,
      .test = test,
  };
  return &table;
}
