/* What a program in plain C finds when it was started: torchrun's variables, one line each. Not set: "NAME". */
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const char* value = getenv(argv[i]);
    if (value == NULL)
      printf("%s\n", argv[i]);
    else
      printf("%s=%s\n", argv[i], value);
  }
  return 0;
}
