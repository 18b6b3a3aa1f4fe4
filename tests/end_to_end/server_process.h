#ifndef CONVD_TESTS_END_TO_END_SERVER_PROCESS_H_
#define CONVD_TESTS_END_TO_END_SERVER_PROCESS_H_

#include <memory>
#include <string>
#include <vector>

#include "client/client.h"
#include "tests/end_to_end/subprocess.h"

namespace convd {

// A folder of its own for one test, removed with all that is in it.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// The real convd, on free ports unless the flags say which. Killed in the destructor.
class ServerProcess {
 public:
  // Fails the test, and returns null, where it doesn't come up.
  static std::unique_ptr<ServerProcess> Start(const std::string& state,
                                              const std::vector<std::string>& more_flags = {});
  // The command line that Start runs.
  static std::vector<std::string> CommandLine(const std::string& state,
                                              const std::vector<std::string>& more_flags = {});

  const std::string& address() const { return address_; }
  const std::string& http_address() const { return http_address_; }  // "": it has none
  Subprocess& process() { return *process_; }

  // A new connection. Fails the test where there is none.
  std::unique_ptr<Client> Connect() const;

  // `convctl` with these arguments against this server.
  Finished Convctl(std::vector<std::string> arguments) const;
  std::unique_ptr<Subprocess> StartConvctl(std::vector<std::string> arguments) const;

 private:
  ServerProcess(std::unique_ptr<Subprocess> process, std::string address, std::string http_address)
      : process_(std::move(process)),
        address_(std::move(address)),
        http_address_(std::move(http_address)) {}

  std::unique_ptr<Subprocess> process_;
  const std::string address_;
  const std::string http_address_;
};

}  // namespace convd

#endif  // CONVD_TESTS_END_TO_END_SERVER_PROCESS_H_
