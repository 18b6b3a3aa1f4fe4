#ifndef CONVD_SERVER_SQLITE_DATABASE_H_
#define CONVD_SERVER_SQLITE_DATABASE_H_

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

// SQLite behind RAII and absl::Status. Statuses name the file: RESOURCE_EXHAUSTED (disk full, no
// memory), DATA_LOSS (not a database, or a damaged one), FAILED_PRECONDITION (may not be opened or
// written, or somebody else has it open), ALREADY_EXISTS (a constraint), else INTERNAL. One thread
// at a time.

namespace convd {

class SqliteDatabase;

// A prepared statement, used again and again. The database outlives it. REQUIRES of every column
// asked for: Step() just said that there is a row.
class SqliteStatement {
 public:
  SqliteStatement() = default;
  SqliteStatement(SqliteStatement&&) = default;
  SqliteStatement& operator=(SqliteStatement&&) = default;

  // Gives the next parameter a value: the first after Reset() is the statement's ?1. What fails is
  // told by Step(). Bytes are copied.
  SqliteStatement& Int(int64_t value);
  SqliteStatement& Text(std::string_view value);
  SqliteStatement& Blob(std::string_view value);
  SqliteStatement& Null();

  // True at a row, false at the end, where the statement is ready to be used again.
  absl::StatusOr<bool> Step();
  // Runs a statement that has no rows, or whose rows don't matter, to its end.
  absl::Status Run();
  // Lets go of the row and of all parameters. A statement that stays at a row holds up others.
  void Reset();

  int64_t IntAt(int column) const;
  // Valid until the next Step or Reset. "" for NULL.
  std::string_view BytesAt(int column) const;
  bool IsNullAt(int column) const;

 private:
  friend class SqliteDatabase;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  SqliteStatement(const SqliteDatabase* database, sqlite3_stmt* statement)
      : database_(database), statement_(statement) {}
  SqliteStatement& Bound(int code);

  const SqliteDatabase* database_ = nullptr;
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  int next_ = 1;          // parameter
  int code_ = SQLITE_OK;  // of the first parameter that failed
};

// What turns a database of one schema version into the next.
using SqliteMigrations = absl::Span<const char* const>;

// One connection to one file, which nobody else may open meanwhile: in WAL mode, and what was
// committed is on disk (synchronous=FULL).
class SqliteDatabase {
 public:
  // Makes the file where there is none. `vfs` is the name of a registered sqlite3_vfs; null is the
  // machine's. Brings the schema to version migrations.size(), all or nothing; FAILED_PRECONDITION
  // where it is newer already. `application_id` marks whose database it is.
  static absl::StatusOr<std::unique_ptr<SqliteDatabase>> Open(const std::string& path,
                                                              int32_t application_id,
                                                              SqliteMigrations migrations,
                                                              const char* vfs = nullptr);

  absl::StatusOr<SqliteStatement> Prepare(std::string_view sql);
  // Any number of statements without parameters.
  absl::Status Execute(const std::string& sql);
  // Commits nothing, in the place of the log that a commit which failed had: after that it can't
  // come back at the next opening.
  absl::Status CommitNothing();

 private:
  friend class SqliteStatement;
  struct Close {
    void operator()(sqlite3* connection) const { sqlite3_close_v2(connection); }
  };
  explicit SqliteDatabase(std::string path) : path_(std::move(path)) {}
  absl::Status Configure();
  absl::Status Migrate(int32_t application_id, SqliteMigrations migrations);
  absl::StatusOr<int64_t> Pragma(const char* name);
  absl::Status Error(int code, std::string_view what) const;

  const std::string path_;
  std::unique_ptr<sqlite3, Close> connection_;
};

// Several statements, all or nothing: rolls back unless Commit() returned OK.
class SqliteTransaction {
 public:
  static absl::StatusOr<SqliteTransaction> Begin(SqliteDatabase& database);
  SqliteTransaction(SqliteTransaction&& other) noexcept;
  SqliteTransaction& operator=(SqliteTransaction&&) = delete;
  ~SqliteTransaction();

  absl::Status Commit();

 private:
  explicit SqliteTransaction(SqliteDatabase* database) : database_(database) {}
  SqliteDatabase* database_;  // null: over
};

}  // namespace convd

#endif  // CONVD_SERVER_SQLITE_DATABASE_H_
