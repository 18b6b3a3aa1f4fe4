#include "server/sqlite/database.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

absl::StatusCode CodeOf(int code) {
  switch (code & 0xff) {
    case SQLITE_FULL:
    case SQLITE_NOMEM:
    case SQLITE_TOOBIG:
      return absl::StatusCode::kResourceExhausted;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::StatusCode::kDataLoss;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return absl::StatusCode::kFailedPrecondition;
    case SQLITE_CONSTRAINT:
      return absl::StatusCode::kAlreadyExists;
    default:
      return absl::StatusCode::kInternal;
  }
}

}  // namespace

SqliteStatement& SqliteStatement::Bound(int code) {
  if (code_ == SQLITE_OK) code_ = code;
  return *this;
}

SqliteStatement& SqliteStatement::Int(int64_t value) {
  return Bound(sqlite3_bind_int64(statement_.get(), next_++, value));
}

SqliteStatement& SqliteStatement::Text(std::string_view value) {
  return Bound(sqlite3_bind_text64(statement_.get(), next_++, value.data(), value.size(),
                                   SQLITE_TRANSIENT, SQLITE_UTF8));
}

SqliteStatement& SqliteStatement::Blob(std::string_view value) {
  // A null pointer would be NULL instead of no bytes.
  return Bound(sqlite3_bind_blob64(statement_.get(), next_++, value.empty() ? "" : value.data(),
                                   value.size(), SQLITE_TRANSIENT));
}

SqliteStatement& SqliteStatement::Null() {
  return Bound(sqlite3_bind_null(statement_.get(), next_++));
}

absl::StatusOr<bool> SqliteStatement::Step() {
  int code = code_;
  if (code == SQLITE_OK) code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) {
    Reset();
    return false;
  }
  // Before Reset, which may replace the message.
  absl::Status error = database_->Error(code, "");
  Reset();
  return error;
}

absl::Status SqliteStatement::Run() {
  for (;;) {
    CONVD_ASSIGN_OR_RETURN(const bool row, Step());
    if (!row) return absl::OkStatus();
  }
}

void SqliteStatement::Reset() {
  // It says again what Step said.
  sqlite3_reset(statement_.get());
  sqlite3_clear_bindings(statement_.get());
  next_ = 1;
  code_ = SQLITE_OK;
}

int64_t SqliteStatement::IntAt(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}

std::string_view SqliteStatement::BytesAt(int column) const {
  // In this order: the first may convert, the second counts what came of it.
  const void* const bytes = sqlite3_column_blob(statement_.get(), column);
  const int size = sqlite3_column_bytes(statement_.get(), column);
  return bytes == nullptr
             ? std::string_view()
             : std::string_view(static_cast<const char*>(bytes), static_cast<size_t>(size));
}

bool SqliteStatement::IsNullAt(int column) const {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}

absl::StatusOr<std::unique_ptr<SqliteDatabase>> SqliteDatabase::Open(const std::string& path,
                                                                     int32_t application_id,
                                                                     SqliteMigrations migrations,
                                                                     const char* vfs) {
  std::unique_ptr<SqliteDatabase> database(new SqliteDatabase(path));
  sqlite3* connection = nullptr;
  constexpr int kFlags =
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
  const int code = sqlite3_open_v2(path.c_str(), &connection, kFlags, vfs);
  database->connection_.reset(connection);
  if (connection == nullptr) return database->Error(SQLITE_NOMEM, "can't be opened: ");
  if (code != SQLITE_OK) return database->Error(code, "can't be opened: ");
  CONVD_RETURN_IF_ERROR(database->Configure());
  CONVD_RETURN_IF_ERROR(database->Migrate(application_id, migrations));
  return database;
}

absl::Status SqliteDatabase::Configure() {
  sqlite3* const connection = connection_.get();
  sqlite3_extended_result_codes(connection, 1);
  // What lies in the file may be hostile.
  sqlite3_db_config(connection, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(connection, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  // Exclusive before WAL: then the WAL's index lies in memory, not in a shared file.
  CONVD_RETURN_IF_ERROR(
      Execute("PRAGMA locking_mode = EXCLUSIVE; PRAGMA cell_size_check = ON;"
              "PRAGMA foreign_keys = ON; PRAGMA journal_size_limit = 4194304;"));
  // To its end: the first row says "wal" before that is written to the file.
  CONVD_RETURN_IF_ERROR(Execute("PRAGMA journal_mode = WAL"));
  CONVD_ASSIGN_OR_RETURN(SqliteStatement mode, Prepare("PRAGMA journal_mode"));
  CONVD_ASSIGN_OR_RETURN(const bool row, mode.Step());
  const std::string_view got = row ? mode.BytesAt(0) : "";
  if (got != "wal" && path_ != ":memory:") {
    return absl::InternalError(absl::StrCat(
        path_, ": its journal mode is ", absl::string_view(got.data(), got.size()), "; want wal"));
  }
  mode.Reset();
  return Execute("PRAGMA synchronous = FULL");
}

absl::StatusOr<int64_t> SqliteDatabase::Pragma(const char* name) {
  CONVD_ASSIGN_OR_RETURN(SqliteStatement pragma, Prepare(absl::StrCat("PRAGMA ", name)));
  CONVD_ASSIGN_OR_RETURN(const bool row, pragma.Step());
  return row ? pragma.IntAt(0) : 0;
}

absl::Status SqliteDatabase::Migrate(int32_t application_id, SqliteMigrations migrations) {
  CONVD_ASSIGN_OR_RETURN(SqliteTransaction transaction, SqliteTransaction::Begin(*this));
  CONVD_ASSIGN_OR_RETURN(const int64_t owner, Pragma("application_id"));
  CONVD_ASSIGN_OR_RETURN(const int64_t version, Pragma("user_version"));
  CONVD_ASSIGN_OR_RETURN(const int64_t schema, Pragma("schema_version"));
  if (owner != application_id && (owner != 0 || schema != 0)) {
    return absl::FailedPreconditionError(
        absl::StrCat(path_, ": is a database of another program (application_id ", owner, "; want ",
                     application_id, ")"));
  }
  const int64_t known = static_cast<int64_t>(migrations.size());
  if (version < 0 || version > known) {
    return absl::FailedPreconditionError(
        absl::StrCat(path_, ": was written by a newer convd (its schema is version ", version,
                     ", this one knows up to ", known, "); start that one, or restore a backup"));
  }
  if (version == known) return absl::OkStatus();
  for (int64_t next = version; next < known; ++next)
    CONVD_RETURN_IF_ERROR(Execute(migrations[next]));
  CONVD_RETURN_IF_ERROR(Execute(
      absl::StrCat("PRAGMA application_id = ", application_id, "; PRAGMA user_version = ", known)));
  return transaction.Commit();
}

absl::StatusOr<SqliteStatement> SqliteDatabase::Prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(connection_.get(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) return Error(code, "");
  return SqliteStatement(this, statement);
}

absl::Status SqliteDatabase::Execute(const std::string& sql) {
  const int code = sqlite3_exec(connection_.get(), sql.c_str(), nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : Error(code, "");
}

absl::Status SqliteDatabase::CommitNothing() {
  CONVD_ASSIGN_OR_RETURN(const int64_t version, Pragma("user_version"));
  return Execute(absl::StrCat("PRAGMA user_version = ", version));
}

absl::Status SqliteDatabase::Error(int code, std::string_view what) const {
  // The connection's message is of the last call; where that was another one, the code's own.
  const char* message = connection_ != nullptr && sqlite3_errcode(connection_.get()) == code
                            ? sqlite3_errmsg(connection_.get())
                            : sqlite3_errstr(code);
  const bool open_elsewhere = (code & 0xff) == SQLITE_BUSY;
  return absl::Status(CodeOf(code),
                      absl::StrCat(path_, ": ", absl::string_view(what.data(), what.size()),
                                   open_elsewhere ? "another program has it open" : message,
                                   " (SQLite's code ", code, ")"));
}

absl::StatusOr<SqliteTransaction> SqliteTransaction::Begin(SqliteDatabase& database) {
  CONVD_RETURN_IF_ERROR(database.Execute("BEGIN IMMEDIATE"));
  return SqliteTransaction(&database);
}

SqliteTransaction::SqliteTransaction(SqliteTransaction&& other) noexcept
    : database_(std::exchange(other.database_, nullptr)) {}

SqliteTransaction::~SqliteTransaction() {
  // Where SQLite has rolled back by itself, as after a full disk, this is refused.
  if (database_ != nullptr) database_->Execute("ROLLBACK").IgnoreError();
}

absl::Status SqliteTransaction::Commit() {
  CONVD_RETURN_IF_ERROR(database_->Execute("COMMIT"));
  database_ = nullptr;
  return absl::OkStatus();
}

}  // namespace convd
