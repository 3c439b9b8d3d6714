#include "tests/support/mpi_hosts.h"

#include <stdlib.h>

#include <fstream>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace rondo::test {
namespace {

/// Of "a:2,b:2": 4.
std::string places_in(const std::string& where) {
  int places = 0;
  std::istringstream hosts(where);
  for (std::string host; std::getline(hosts, host, ',');) places += std::stoi(host.substr(host.find(':') + 1));
  return std::to_string(places);
}

}  // namespace

OwnFolder::OwnFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "rondo-test-mpi-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  path = name;
}

OwnFolder::~OwnFolder() {
  std::error_code none;
  std::filesystem::remove_all(path, none);
}

MpiHosts::MpiHosts(const Hosts& hosts) : hosts_(hosts) {
  std::ofstream script(agent());
  script << "#!/bin/sh\n"
            "while [ \"${1#-}\" != \"$1\" ]; do shift; done\n"
            "host=$1; shift\n"
            "case $host in\n";
  for (int host = 0; host < hosts.count(); ++host)
    script << static_cast<char>('a' + host) << ") space=" << hosts.space(host) << " ;;\n";
  script << "*) echo \"agent: there is no host $host\" >&2; exit 1 ;;\n"
            "esac\n"
            "exec nsenter --net=$space unshare --uts sh -c 'hostname \"$0\"; exec sh -c \"$*\"' \"$host\" \"$@\"\n";
  script.close();
  std::filesystem::permissions(agent(), std::filesystem::perms::owner_all);
}

std::vector<std::string> MpiHosts::mpirun(const std::string& where) const {
  return {"mpirun.openmpi", "--mca", "plm_rsh_agent", agent(), "--oversubscribe", "-np", places_in(where),
          "--host",         where};
}

std::vector<std::string> MpiHosts::mpiexec(const std::string& where) const {
  return {"mpiexec.mpich",  "-launcher", "ssh", "-launcher-exec", agent(), "-iface", Hosts::interface(0), "-n",
          places_in(where), "-hosts",    where};
}

Process::Options MpiHosts::on_first(std::vector<std::string> words) const {
  words.insert(words.begin(), {"--uts", "sh", "-c", "hostname a; exec \"$0\" \"$@\""});
  return hosts_.on(0, {.program = "unshare", .arguments = std::move(words), .environment = open_mpi_environment()});
}

std::map<std::string, std::string> open_mpi_environment() {
  static const OwnFolder own;
  return {{"OMPI_ALLOW_RUN_AS_ROOT", "1"}, {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"}, {"TMPDIR", own.path}};
}

}  // namespace rondo::test
