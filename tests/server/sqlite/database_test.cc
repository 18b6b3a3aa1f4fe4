#include "server/sqlite/database.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>

namespace convd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int32_t kOurs = 77;
constexpr const char* kOneTable[] = {"CREATE TABLE word (text TEXT NOT NULL UNIQUE) STRICT"};
constexpr const char* kTwoTables[] = {kOneTable[0],
                                      "CREATE TABLE page (number INTEGER NOT NULL) STRICT"};

class DatabaseTest : public ::testing::Test {
 protected:
  std::string NewPath() {
    const std::string path = testing::TempDir() + "database_test_" +
                             testing::UnitTest::GetInstance()->current_test_info()->name();
    for (const char* suffix : {"", "-wal", "-shm"}) std::remove((path + suffix).c_str());
    return path;
  }
  static std::unique_ptr<SqliteDatabase> MustOpen(const std::string& path,
                                                  SqliteMigrations migrations = kOneTable) {
    auto database = SqliteDatabase::Open(path, kOurs, migrations);
    EXPECT_TRUE(database.ok()) << database.status();
    return database.ok() ? *std::move(database) : nullptr;
  }
  static int64_t Count(SqliteDatabase& database, const std::string& table) {
    auto count = database.Prepare("SELECT count(*) FROM " + table);
    EXPECT_TRUE(count.ok()) << count.status();
    EXPECT_TRUE(*count->Step());
    return count->IntAt(0);
  }
  static std::string Pragma(SqliteDatabase& database, const std::string& name) {
    auto pragma = database.Prepare("PRAGMA " + name);
    EXPECT_TRUE(*pragma->Step());
    return std::string(pragma->BytesAt(0));
  }
};

TEST_F(DatabaseTest, IsDurableAtEachCommitAndForOneProcess) {
  const auto database = MustOpen(NewPath());
  EXPECT_EQ(Pragma(*database, "journal_mode"), "wal");
  EXPECT_EQ(Pragma(*database, "synchronous"), "2");  // FULL
  EXPECT_EQ(Pragma(*database, "locking_mode"), "exclusive");
}

TEST_F(DatabaseTest, BytesComeBackAsTheyWere) {
  const auto database = MustOpen(":memory:");
  auto select = *database->Prepare("SELECT ?, ?, ?, ?, ?");
  const std::string zeros("a\0b", 3);
  ASSERT_TRUE(*select.Int(INT64_MIN).Text(zeros).Blob(zeros).Null().Blob("").Step());
  EXPECT_EQ(select.IntAt(0), INT64_MIN);
  EXPECT_EQ(select.BytesAt(1), zeros);
  EXPECT_EQ(select.BytesAt(2), zeros);
  EXPECT_TRUE(select.IsNullAt(3));
  EXPECT_FALSE(select.IsNullAt(4));
  EXPECT_EQ(select.BytesAt(4), "");
}

TEST_F(DatabaseTest, AStatementIsReadyAgainAfterItsEndAndAfterAnError) {
  const auto database = MustOpen(":memory:");
  auto insert = *database->Prepare("INSERT INTO word VALUES (?)");
  ASSERT_TRUE(insert.Text("one").Run().ok());
  const absl::Status again = insert.Text("one").Run();
  EXPECT_EQ(again.code(), absl::StatusCode::kAlreadyExists) << again;
  EXPECT_THAT(again.message(), HasSubstr("word.text"));
  ASSERT_TRUE(insert.Text("two").Run().ok());
  // One parameter too many.
  EXPECT_FALSE(insert.Text("three").Text("four").Run().ok());
  EXPECT_EQ(Count(*database, "word"), 2);
}

TEST_F(DatabaseTest, WhatIsNotCommittedIsTakenBack) {
  const std::string path = NewPath();
  {
    const auto database = MustOpen(path);
    {
      auto transaction = SqliteTransaction::Begin(*database);
      ASSERT_TRUE(transaction.ok());
      ASSERT_TRUE(database->Execute("INSERT INTO word VALUES ('lost')").ok());
    }
    EXPECT_EQ(Count(*database, "word"), 0);
    auto transaction = SqliteTransaction::Begin(*database);
    ASSERT_TRUE(database->Execute("INSERT INTO word VALUES ('kept')").ok());
    ASSERT_TRUE(transaction->Commit().ok());
  }
  EXPECT_EQ(Count(*MustOpen(path), "word"), 1);
}

TEST_F(DatabaseTest, AnOlderSchemaIsBroughtForwardWithItsRows) {
  const std::string path = NewPath();
  ASSERT_TRUE(MustOpen(path)->Execute("INSERT INTO word VALUES ('old')").ok());
  const auto database = MustOpen(path, kTwoTables);
  EXPECT_EQ(Count(*database, "word"), 1);
  EXPECT_EQ(Count(*database, "page"), 0);
}

TEST_F(DatabaseTest, AMigrationThatFailsChangesNothing) {
  const std::string path = NewPath();
  MustOpen(path);
  constexpr const char* kBroken[] = {kOneTable[0],
                                     "CREATE TABLE page (n INTEGER) STRICT; nonsense"};
  EXPECT_FALSE(SqliteDatabase::Open(path, kOurs, kBroken).ok());
  const auto database = MustOpen(path);
  EXPECT_FALSE(database->Prepare("SELECT * FROM page").ok());
}

TEST_F(DatabaseTest, ANewerSchemaIsRefusedInWords) {
  const std::string path = NewPath();
  MustOpen(path, kTwoTables);
  const absl::Status status = SqliteDatabase::Open(path, kOurs, kOneTable).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(),
              AllOf(HasSubstr(path), HasSubstr("newer convd"), HasSubstr("version 2")));
}

TEST_F(DatabaseTest, AnotherProgramsDatabaseIsLeftAlone) {
  const std::string path = NewPath();
  MustOpen(path);
  const absl::Status status = SqliteDatabase::Open(path, kOurs + 1, kOneTable).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("another program"));
}

TEST_F(DatabaseTest, WhatIsNoDatabaseIsDataLoss) {
  const std::string path = NewPath();
  std::ofstream(path) << std::string(5000, 'x');
  const absl::Status status = SqliteDatabase::Open(path, kOurs, kOneTable).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(status.message(), HasSubstr(path));
}

TEST_F(DatabaseTest, AFolderThatIsNotThereIsNamed) {
  const absl::Status status =
      SqliteDatabase::Open(NewPath() + "/no/such", kOurs, kOneTable).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_THAT(status.message(), HasSubstr("/no/such"));
}

TEST_F(DatabaseTest, ASecondConnectionIsRefused) {
  const std::string path = NewPath();
  const auto database = MustOpen(path);
  const absl::Status status = SqliteDatabase::Open(path, kOurs, kOneTable).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_THAT(status.message(), HasSubstr("another program has it open"));
}

}  // namespace
}  // namespace convd
