/// The `rondo` program: hands its arguments to the verb they name.
#include "launcher/cli/cli.h"

int main(int argc, char** argv) { return rondo::launcher::run_cli({argv, argv + argc}); }
