#ifndef CONVD_TESTS_CRASH_CALL_TRACE_H_
#define CONVD_TESTS_CRASH_CALL_TRACE_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace convd {

// Where a server is killed: as one of its threads enters its nth call of this kind. strace counts
// each thread's calls by themselves.
struct KillPoint {
  std::string call;
  int64_t nth = 1;
};

// The calls that change what outlives the process, or tell others of it.
const std::vector<std::string>& TracedCalls();

// strace's path; "" where it isn't installed, or may not trace here.
const std::string& StracePath();

// Of strace's output, each call's count in the thread that made the most of them.
std::map<std::string, int64_t> CountCalls(const std::string& path);

// What the process was at when it died: "fsync of checkpoints". The call alone where the trace
// doesn't say.
std::string DescribeEnd(const std::string& path, const std::string& call);

}  // namespace convd

#endif  // CONVD_TESTS_CRASH_CALL_TRACE_H_
