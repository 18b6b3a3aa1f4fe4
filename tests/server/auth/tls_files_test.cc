#include "server/auth/tls_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/core/time/hand_clock.h"
#include "tests/server/auth/test_certificates.h"
#include "tests/server/models/memory_file_system.h"

namespace convd {
namespace {

using ::testing::HasSubstr;

class TlsFilesTest : public ::testing::Test {
 protected:
  void Write(const std::string& path, const std::string& text) {
    ASSERT_TRUE(WriteFileAtomically(fs_, path, text).ok());
  }
  void Write(const PemPair& pair) {
    Write("/cert", pair.certificate);
    Write("/key", pair.key);
  }
  absl::StatusOr<std::unique_ptr<TlsFiles>> Open() {
    return TlsFiles::Open(fs_, clock_, {"/cert", "/key", "/ca"});
  }

  TestAuthority authority_;
  const PemPair first_ = authority_.Issue("first");
  const PemPair second_ = authority_.Issue("second");
  MemoryFileSystem fs_;
  HandClock clock_;
};

TEST_F(TlsFilesTest, ReadsThePairAgainWhenItHasChangedAndFits) {
  Write(first_);
  Write("/ca", authority_.certificate());
  const auto files = Open();
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ((*files)->Current()->certificate, first_.certificate);
  EXPECT_FALSE(*(*files)->Reload());
  // Half of the new pair is there: said once, and the old one serves.
  Write("/cert", second_.certificate);
  EXPECT_THAT((*files)->Reload().status().message(), HasSubstr("--tls-key: is not the key of"));
  EXPECT_FALSE(*(*files)->Reload());
  EXPECT_EQ((*files)->Current()->certificate, first_.certificate);
  Write("/key", second_.key);
  EXPECT_TRUE(*(*files)->Reload());
  EXPECT_EQ((*files)->Current()->certificate, second_.certificate);
  ASSERT_TRUE(fs_.Remove("/ca").ok());
  EXPECT_THAT((*files)->Reload().status().message(), HasSubstr("--tls-client-ca"));
  EXPECT_EQ((*files)->Current()->client_ca, authority_.certificate());
}

TEST_F(TlsFilesTest, RefusesWhatTheTlsLibraryFindsTooWeak) {
  Write(first_);
  Write("/ca", authority_.certificate());
  const auto files = Open();
  ASSERT_TRUE(files.ok()) << files.status();
  const auto context = (*files)->Context();
  Write(authority_.IssueRsa("weak", 1024));
  EXPECT_THAT((*files)->Reload().status().message(),
              AllOf(HasSubstr("--tls-cert: "), HasSubstr("key too small")));
  EXPECT_EQ((*files)->Context(), context);
  Write(authority_.IssueRsa("strong", 2048));
  EXPECT_TRUE(*(*files)->Reload());
  EXPECT_NE((*files)->Context(), context);
}

TEST_F(TlsFilesTest, TriesAgainWhatCouldNotBeRead) {
  Write(first_);
  Write("/ca", authority_.certificate());
  const auto files = Open();
  ASSERT_TRUE(files.ok()) << files.status();
  Write(second_);
  fs_.FailAt(4);  // after the three stamps
  EXPECT_FALSE((*files)->Reload().ok());
  EXPECT_TRUE(*(*files)->Reload());
  EXPECT_EQ((*files)->Current()->certificate, second_.certificate);
}

TEST_F(TlsFilesTest, NamesTheFlagOfWhatIsNoPem) {
  Write(first_);
  Write("/ca", "");
  EXPECT_THAT(Open().status().message(), HasSubstr("--tls-client-ca"));
  Write("/ca", "hello");
  EXPECT_THAT(Open().status().message(), HasSubstr("--tls-client-ca"));
  Write("/cert", first_.key);
  EXPECT_THAT(Open().status().message(), HasSubstr("--tls-cert"));
  Write("/cert", first_.certificate + "-----BEGIN CERTIFICATE-----\nAAAA\n");
  EXPECT_THAT(Open().status().message(), HasSubstr("--tls-cert"));
  Write("/cert", first_.certificate);
  Write("/key", first_.certificate);
  EXPECT_THAT(Open().status().message(), HasSubstr("--tls-key: the file isn't a private key"));
}

}  // namespace
}  // namespace convd
