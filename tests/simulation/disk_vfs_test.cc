#include "tests/simulation/disk_vfs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "tests/core/time/hand_clock.h"
#include "tests/simulation/simulated_disk.h"

namespace convd {
namespace {

using ::testing::AnyOf;
using Kind = SimulatedDisk::Operation::Kind;
using Hook = std::function<bool(const SimulatedDisk::Operation&)>;

constexpr char kPath[] = "/db/test";
// The first creates the tables, each of the others adds a row to one and changes the other's. With
// so many there are some checkpoints and new starts of the WAL.
constexpr int kTransactions = 8;

class Database {
 public:
  explicit Database(const DiskVfs& vfs) {
    constexpr int kFlags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_EXRESCODE;
    usable_ = sqlite3_open_v2(kPath, &db_, kFlags, vfs.name()) == SQLITE_OK &&
              Value("PRAGMA locking_mode=EXCLUSIVE") == "exclusive" &&
              Value("PRAGMA journal_mode=WAL") == "wal" && Run("PRAGMA synchronous=FULL") &&
              Run("PRAGMA wal_autocheckpoint=8");
  }
  ~Database() { EXPECT_EQ(sqlite3_close(db_), SQLITE_OK); }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  bool usable() const { return usable_; }
  int error() const { return error_; }

  bool Run(const std::string& sql) {
    error_ = sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr);
    if (error_ == SQLITE_OK) return true;
    // Some errors roll back by themselves, and some don't.
    if (sqlite3_get_autocommit(db_) == 0) sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
    return false;
  }

  // The first value that `sql` selects, or what went wrong.
  std::string Value(const std::string& sql) {
    std::string value;
    const auto take = [](void* out, int, char** values, char**) {
      std::string& text = *static_cast<std::string*>(out);
      if (text.empty() && values[0] != nullptr) text = values[0];
      return 0;
    };
    error_ = sqlite3_exec(db_, sql.c_str(), take, &value, nullptr);
    return error_ == SQLITE_OK ? value : sqlite3_errmsg(db_);
  }

  bool Transaction(int i) {
    if (i == 1) {
      return Run(
          "BEGIN; CREATE TABLE rows (id INTEGER PRIMARY KEY, data TEXT UNIQUE);"
          "CREATE TABLE last (id INTEGER); INSERT INTO last VALUES (1); COMMIT");
    }
    return Run(absl::StrCat("BEGIN; INSERT INTO rows VALUES (", i, ", printf('%03d%.*c', ", i,
                            ", 1500, 'x')); UPDATE last SET id = ", i, "; COMMIT"));
  }

  // How many transactions are there; -1 where it isn't the first so many, each of them whole.
  int Transactions() {
    if (Value("PRAGMA integrity_check") != "ok") return -1;
    if (Value("SELECT count(*) FROM sqlite_master") == "0") return 0;
    const std::string last = Value("SELECT id FROM last");
    const std::string count = Value("SELECT count(*) + 1 FROM rows");
    const std::string sum = Value("SELECT 1 + ifnull(sum(id), 0) FROM rows");
    for (int i = 1; i <= kTransactions; ++i) {
      const std::string number = absl::StrCat(i);
      if (last == number && count == number && sum == absl::StrCat(i * (i + 1) / 2)) return i;
    }
    return -1;
  }

 private:
  sqlite3* db_ = nullptr;
  bool usable_ = false;
  int error_ = SQLITE_OK;
};

class DiskVfsTest : public testing::Test {
 protected:
  // A new disk with an empty folder for the database.
  void Begin(uint64_t seed) {
    vfs_.reset();
    disk_ = std::make_unique<SimulatedDisk>(seed);
    ASSERT_TRUE(disk_->CreateDirectories("/db").ok());
    ASSERT_TRUE(disk_->SyncDirectory("/").ok());
    vfs_ = std::make_unique<DiskVfs>(*disk_, clock_, seed);
  }

  // Up to the first that fails. How many didn't.
  int RunTransactions() {
    Database db(*vfs_);
    if (!db.usable()) return 0;
    int done = 0;
    while (done < kTransactions && db.Transaction(done + 1)) ++done;
    return done;
  }

  int Transactions() {
    Database db(*vfs_);
    return db.usable() ? db.Transactions() : -1;
  }

  // Cuts the power at each operation, and says how often the database then lacked what it had
  // acknowledged, or wasn't whole.
  int DamagedRuns(uint64_t seeds, const Hook& ignored) {
    int damaged = 0;
    for (uint64_t seed = 0; seed < seeds; ++seed) {
      bool crashed = true;
      for (int64_t crash = 1; crashed; ++crash) {
        Begin(seed);
        disk_->OnOperation(ignored);
        disk_->CrashAt(crash);
        const int acknowledged = RunTransactions();
        crashed = disk_->crashed();
        EXPECT_TRUE(crashed || acknowledged == kTransactions);
        disk_->Restart();
        const int left = Transactions();
        if (left != acknowledged && left != acknowledged + 1) ++damaged;
        if (ignored == nullptr) {
          EXPECT_THAT(left, AnyOf(acknowledged, acknowledged + 1)) << seed << " " << crash;
        }
      }
    }
    return damaged;
  }

  // Fails each of the `failing` operations in turn, goes on with the same connection, and cuts the
  // power at some later operation. `sync_folder`: the folder is synced, with success, before the
  // first transaction.
  int DamagedRunsAfterAnError(const Hook& failing, bool sync_folder) {
    int damaged = 0;
    bool failed = true;
    for (int64_t fail = 1; failed; ++fail) {
      for (uint64_t seed = 0; seed < 10; ++seed) {
        Begin(seed);
        int64_t count = 0;
        failed = false;
        disk_->FailIf([&](const SimulatedDisk::Operation& operation) {
          if (failed || !failing(operation) || ++count != fail) return absl::OkStatus();
          failed = true;
          disk_->CrashAt(1 + static_cast<int64_t>(2 * seed * seed));
          return absl::InternalError("made to");
        });
        const int acknowledged = RunTransactionsDespiteAnError(sync_folder);
        disk_->FailIf(nullptr);
        disk_->Restart();
        const int left = Transactions();
        if (left != acknowledged && left != acknowledged + 1) ++damaged;
      }
    }
    return damaged;
  }

  // How many were acknowledged.
  int RunTransactionsDespiteAnError(bool sync_folder) {
    std::unique_ptr<Database> db;
    const auto open = [&] {
      db.reset();  // before it is opened again
      db = std::make_unique<Database>(*vfs_);
      // Reading makes the WAL.
      return db->usable() &&
             (!sync_folder || (db->Value("SELECT count(*) FROM sqlite_master") == "0" &&
                               disk_->SyncDirectory("/db").ok()));
    };
    if (!open() && !open()) return 0;
    int done = 0;
    while (done < kTransactions && !disk_->crashed()) {
      if (db->Transaction(done + 1)) ++done;
    }
    return done;
  }

  HandClock clock_;
  std::unique_ptr<SimulatedDisk> disk_;
  std::unique_ptr<DiskVfs> vfs_;
};

Hook SyncsOf(Kind kind, const std::string& end) {
  return [=](const SimulatedDisk::Operation& operation) {
    return operation.kind == kind && absl::EndsWith(operation.path, end);
  };
}

TEST_F(DiskVfsTest, ADatabaseWorks) {
  Begin(1);
  EXPECT_EQ(RunTransactions(), kTransactions);
  EXPECT_EQ(Transactions(), kTransactions);
  EXPECT_THAT(*disk_->List("/db"), testing::ElementsAre("test"));
  disk_->Restart(Survival::kNothing);
  EXPECT_EQ(Transactions(), kTransactions);
}

TEST_F(DiskVfsTest, AcknowledgedTransactionsSurviveACrashAtAnyOperation) {
  EXPECT_EQ(DamagedRuns(/*seeds=*/10, nullptr), 0);
}

TEST_F(DiskVfsTest, ItShowsWhenASyncIsLeftOut) {
  EXPECT_GT(DamagedRuns(2, SyncsOf(Kind::kSync, "-wal")), 0);
  EXPECT_GT(DamagedRuns(2, SyncsOf(Kind::kSync, "/test")), 0);
  EXPECT_GT(DamagedRuns(2, SyncsOf(Kind::kSyncDirectory, "/db")), 0);
}

TEST_F(DiskVfsTest, ARunIsTheSameEveryTime) {
  const auto trace = [this](uint64_t seed) {
    Begin(seed);
    RunTransactions();
    disk_->Restart();
    std::string left = absl::StrCat(disk_->operations());
    const absl::StatusOr<std::vector<std::string>> names = disk_->List("/db");
    for (const std::string& name : *names) {
      absl::StrAppend(&left, name, *disk_->Read(absl::StrCat("/db/", name), INT64_MAX));
    }
    return left;
  };
  // Cut in the middle, so that there is a WAL, with salts in it.
  const auto cut = [&](uint64_t seed) {
    Begin(seed);
    disk_->CrashAt(60);
    RunTransactions();
    disk_->Restart(Survival::kEverything);
    return *disk_->Read("/db/test-wal", INT64_MAX);
  };
  EXPECT_EQ(trace(1), trace(1));
  EXPECT_EQ(cut(1), cut(1));
  EXPECT_NE(cut(1), cut(2));
}

TEST_F(DiskVfsTest, AfterAnErrorAtAnyOperationADatabaseIsUsable) {
  bool failed = true;
  for (int64_t fail = 1; failed; ++fail) {
    Begin(1);
    disk_->FailAt(fail, absl::ResourceExhaustedError("made to"));
    failed = false;
    {
      auto db = std::make_unique<Database>(*vfs_);
      if (!db->usable()) {
        failed = true;
        db.reset();
        db = std::make_unique<Database>(*vfs_);
      }
      ASSERT_TRUE(db->usable()) << fail;
      for (int i = 1; i <= kTransactions; ++i) {
        if (db->Transaction(i)) continue;
        failed = true;
        EXPECT_THAT(db->error() & 0xff, AnyOf(SQLITE_FULL, SQLITE_IOERR, SQLITE_CANTOPEN)) << fail;
        EXPECT_TRUE(db->Transaction(i)) << fail << " " << i << " " << db->Value("SELECT 1");
      }
      EXPECT_EQ(db->Transactions(), kTransactions) << fail;
    }
    failed = failed || disk_->operations() >= fail;
    disk_->FailAt(0, absl::OkStatus());
    EXPECT_EQ(Transactions(), kTransactions) << fail;
  }
}

TEST_F(DiskVfsTest, AcknowledgedTransactionsSurviveACrashAfterAnError) {
  const Hook others = [](const SimulatedDisk::Operation& operation) {
    return operation.kind != Kind::kSyncDirectory;
  };
  EXPECT_EQ(DamagedRunsAfterAnError(others, /*sync_folder=*/false), 0);
}

// SQLite's unix VFS doesn't look at whether it could sync the folder of a new WAL.
TEST_F(DiskVfsTest, AcknowledgedTransactionsMayLackAFolderThatCouldNotBeSynced) {
  EXPECT_GT(DamagedRunsAfterAnError(SyncsOf(Kind::kSyncDirectory, "/db"), /*sync_folder=*/false),
            0);
  EXPECT_EQ(DamagedRunsAfterAnError(SyncsOf(Kind::kSyncDirectory, "/db"), /*sync_folder=*/true), 0);
}

TEST_F(DiskVfsTest, ADatabaseIsUsableWhenAFullDiskHasSpaceAgain) {
  Begin(1);
  Database db(*vfs_);
  ASSERT_TRUE(db.usable());
  ASSERT_TRUE(db.Transaction(1));
  for (int i = 2; i <= kTransactions; ++i) {
    disk_->SetCapacity(0);
    // Where it only overwrites its WAL it needs no space.
    const bool done = db.Transaction(i);
    if (!done) {
      EXPECT_EQ(db.error(), SQLITE_FULL);
    }
    EXPECT_EQ(db.Transactions(), done ? i : i - 1);
    disk_->SetCapacity(std::nullopt);
    EXPECT_TRUE(done || db.Transaction(i));
  }
  EXPECT_EQ(db.Transactions(), kTransactions);
}

TEST_F(DiskVfsTest, ASecondConnectionIsLockedOut) {
  Begin(1);
  auto db = std::make_unique<Database>(*vfs_);
  ASSERT_TRUE(db->Transaction(1));
  {
    Database other(*vfs_);
    EXPECT_FALSE(other.usable());
    EXPECT_EQ(other.error(), SQLITE_BUSY);
  }
  EXPECT_TRUE(db->Transaction(2));
  db.reset();
  EXPECT_EQ(Transactions(), 2);
}

TEST_F(DiskVfsTest, ReadersKeepAWriterOut) {
  Begin(1);
  ASSERT_GT(RunTransactions(), 0);
  const auto open = [this] {
    sqlite3* db = nullptr;
    EXPECT_EQ(sqlite3_open_v2(kPath, &db, SQLITE_OPEN_READWRITE, vfs_->name()), SQLITE_OK);
    return db;
  };
  const auto run = [](sqlite3* db, const char* sql) {
    return sqlite3_exec(db, sql, nullptr, nullptr, nullptr);
  };
  {
    Database db(*vfs_);
    ASSERT_EQ(db.Value("PRAGMA journal_mode=DELETE"), "delete");
  }
  sqlite3* const reader = open();
  sqlite3* const writer = open();
  ASSERT_EQ(run(reader, "BEGIN; SELECT * FROM last"), SQLITE_OK);
  EXPECT_EQ(run(writer, "BEGIN; UPDATE last SET id = 1"), SQLITE_OK);
  EXPECT_EQ(run(reader, "UPDATE last SET id = 2"), SQLITE_BUSY);
  EXPECT_EQ(run(writer, "COMMIT"), SQLITE_BUSY);
  EXPECT_EQ(run(reader, "COMMIT"), SQLITE_OK);
  EXPECT_EQ(run(reader, "SELECT * FROM last"), SQLITE_BUSY);  // the writer is waiting
  EXPECT_EQ(run(writer, "COMMIT"), SQLITE_OK);
  EXPECT_EQ(run(reader, "SELECT * FROM last"), SQLITE_OK);
  EXPECT_EQ(sqlite3_close(reader), SQLITE_OK);
  EXPECT_EQ(sqlite3_close(writer), SQLITE_OK);
}

TEST_F(DiskVfsTest, TheClockIsTheOneGiven) {
  Begin(1);
  Database db(*vfs_);
  EXPECT_EQ(db.Value("SELECT datetime('now')"), "2026-01-31 23:59:59");
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(db.Value("SELECT datetime('now')"), "2026-02-01 00:00:00");
}

}  // namespace
}  // namespace convd
