#ifndef CONVD_CLIENT_CONVCTL_TABLE_H_
#define CONVD_CLIENT_CONVCTL_TABLE_H_

#include <string>
#include <vector>

namespace convd {

enum class Align { kLeft, kRight };

struct Column {
  std::string heading;
  Align align = Align::kLeft;
};

// Rows under headings, each column as wide as its widest cell, two spaces between them and none at
// the end of a line. Cells are made printable (terminal_text.h). One thread.
class Table {
 public:
  explicit Table(std::vector<Column> columns);

  // REQUIRES: cells.size() is the number of columns.
  void AddRow(std::vector<std::string> cells);
  bool empty() const { return rows_.empty(); }

  // Each line ends with a newline.
  std::string Render() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// "name   value" lines, names padded to one width, for one thing shown whole.
class FieldList {
 public:
  void Add(std::string name, std::string value);
  std::string Render() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_TABLE_H_
