#ifndef CONVD_CLIENT_CONVCTL_SESSION_H_
#define CONVD_CLIENT_CONVCTL_SESSION_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"
#include "client/convctl/terminal.h"
#include "google/protobuf/message.h"

namespace convd {

// The flags that every command takes.
struct GlobalFlags {
  std::string server = "127.0.0.1:8081";
  std::string token_file;  // "": what `token` says
  std::string token;       // of the environment; never of the command line, which others can read
  bool insecure_token = false;
  bool tls = false;
  std::string tls_ca, tls_cert, tls_key;  // files
  bool json = false;
  double timeout_seconds = 0;  // 0: the client's own
};

// One run of convctl: where the server is, and where output goes (stdout). One thread.
class Session {
 public:
  explicit Session(const GlobalFlags& flags);

  bool json() const { return flags_.json; }
  const Terminal& terminal() const { return terminal_; }
  int width() const;  // of the terminal, in columns, as it is now
  const std::string& server() const { return flags_.server; }

  // Token, TLS and time of each call, as the flags say; reads their files.
  absl::StatusOr<ClientOptions> connection() const;
  // Connects on the first call. Owned by the session.
  absl::StatusOr<Client*> client();

  void Print(std::string_view text);
  // Sends out at once what was printed: a progress line, an event for a script.
  void Flush();
  // A line on stderr on what goes on, after all that was printed; nothing with --json, where errors
  // alone stand there.
  void PrintNote(std::string_view line);
  // A message in protobuf's JSON mapping and a newline: indented where a person asks for one
  // document, on one line for a stream of events.
  absl::Status PrintJson(const google::protobuf::Message& message, bool one_line = false);
  // INTERNAL where something printed could not be written (a full disk).
  absl::Status Close();

 private:
  const GlobalFlags flags_;
  const Terminal terminal_;
  std::unique_ptr<Client> client_;
};

// What the command line asks for, to be run once all flags are known.
using Command = std::function<absl::Status(Session&)>;

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_SESSION_H_
